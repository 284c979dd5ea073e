import { join } from 'node:path';
import { atTerminal, testAtTerminal } from './at-terminal';

describe('a bar', () => {
  const outputOf = async (kind: string): Promise<string> => {
    const runner = join(__dirname, '../support/run-typescript.js');
    const command = [`'${process.execPath}'`, runner, join(__dirname, 'child-progress.ts'), kind].join(' ');
    let output = '';
    for await (const text of atTerminal(command).stdout) output += String(text);
    return output;
  };

  testAtTerminal('is not shown of what takes no time', async () => {
    expect(await outputOf('brief')).toBe('');
  });

  for (const kind of ['rounds', 'loading'])
    testAtTerminal(`of ${kind} is taken away where the process ends, and the cursor is back`, async () => {
      const output = await outputOf(kind);
      const [hides, shows] = ['\u001b[?25l', '\u001b[?25h'].map((command) => output.lastIndexOf(command));
      expect(hides).toBeGreaterThanOrEqual(0);
      expect(shows).toBeGreaterThan(hides!);
    });
});
