import { join } from 'node:path';
import { atTerminal, testAtTerminal } from './at-terminal';

describe('a bar', () => {
  for (const kind of ['rounds', 'loading'])
    testAtTerminal(`of ${kind} is taken away where the process ends, and the cursor is back`, async () => {
      const child = [
        join(__dirname, '../support/run-typescript.js'),
        join(__dirname, 'child-progress.ts'),
        kind,
      ];
      let output = '';
      for await (const text of atTerminal(`'${process.execPath}' ${child.join(' ')}`).stdout)
        output += String(text);
      const [hides, shows] = ['\u001b[?25l', '\u001b[?25h'].map((command) => output.lastIndexOf(command));
      expect(hides).toBeGreaterThanOrEqual(0);
      expect(shows).toBeGreaterThan(hides!);
    });
});
