import { join } from 'node:path';
import { run } from '../package/support';

test.each([['9B'], ['--weights', 'int3'], ['--rounds', 'x'], ['--rounds', '0'], ['--threads', '1.5']])(
  'npm run bench refuses %s %s before it does anything',
  (...args) => {
    const { status, output } = run(process.execPath, [join(__dirname, '../../scripts/bench.js'), ...args]);
    expect(status).toBe(2);
    expect(output).toContain(`Cannot take "${args.at(-1)!}"\n`);
  },
);
