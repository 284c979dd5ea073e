import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, temporaryFolder } from './support';

const folder = temporaryFolder();

/** A script as scripts/check.js is one, with these steps; what it prints, without the times. */
function runScript(steps: string): { status: number | null; output: string } {
  const script = join(folder, 'script.js');
  const source = `
    const { runStep, runSteps } = require(${JSON.stringify(join(root, 'scripts/lib/steps.js'))});
    const fail = (message, counts) => { throw Object.assign(new Error(message), { counts }); };
    const steps = ${steps};
    const [option, name] = process.argv.slice(2);
    if (option === '--step') void runStep(steps.flat().find((step) => step.name === name));
    else void runSteps(steps);`;
  writeFileSync(script, source);
  const { status, output } = run(process.execPath, [script]);
  return { status, output: output.replaceAll(/\d+\.\d s/g, 'T') };
}

test('steps run one after the other, and a required one that fails is the last', () => {
  const { status, output } = runScript(`[
    { name: 'a', action: () => { console.log('says a'); return { passed: 2, failed: 0, skipped: 1 }; } },
    { name: 'b', action: () => fail('broken', { passed: 1, failed: 3 }), required: true },
    { name: 'c', action: () => console.log('says c') },
  ]`);
  expect(output).toBe(
    '\n== a\nsays a\n-- a: ok (T)\n\n== b\nbroken\n-- b: FAILED (T)\n\n' +
      'FAILED: b in T. 1 tests were skipped; each says why.\n3 passed, 3 failed\n',
  );
  expect(status).toBe(1);
});

test('what steps side by side say comes in one piece, and their counts are summed up', () => {
  const { status, output } = runScript(`[
    [
      { name: 'a', action: async () => {
        console.log('begins a');
        await new Promise((resolve) => setTimeout(resolve, 300));
        console.log('ends a');
        return { passed: 2, failed: 0 };
      } },
      { name: 'b', action: () => { console.error('says b'); return { passed: 5, failed: 0 }; } },
    ],
    { name: 'c', action: () => console.log('says c') },
  ]`);
  expect(output).toContain('\n== a\nbegins a\nends a\n-- a: ok (T)\n');
  expect(output).toContain('\n== b\nsays b\n-- b: ok (T)\n');
  expect(output).toMatch(
    /\n\n== c\nsays c\n-- c: ok \(T\)\n\nAll steps passed in T\.\n7 passed, 0 failed\n$/,
  );
  expect(status).toBe(0);
});

test('a step side by side fails by what it returns, by what it throws, and where its process ends early', () => {
  const { status, output } = runScript(`[[
    { name: 'counted', action: () => ({ passed: 1, failed: 2 }) },
    { name: 'thrown', action: () => fail('broken', { passed: 1, failed: 4 }) },
    { name: 'ended', action: () => process.exit(0) },
  ]]`);
  expect(output).toContain('\n== counted\n2 failed\n-- counted: FAILED (T)\n');
  expect(output).toContain('\n== thrown\nbroken\n-- thrown: FAILED (T)\n');
  expect(output).toContain('\n== ended\nended without a result\n-- ended: FAILED (T)\n');
  expect(output).toMatch(/\nFAILED: .*\n2 passed, 6 failed\n$/);
  expect(status).toBe(1);
});
