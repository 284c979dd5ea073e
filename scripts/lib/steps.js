'use strict';

const seconds = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/**
 * Runs named steps one after the other and sums up. A step may return { passed, failed, skipped }, counts of tests.
 * A failing step does not stop the others, unless `required`: then what follows could not succeed.
 */
async function runSteps(steps) {
  const begin = performance.now();
  const failures = [];
  const total = { passed: 0, failed: 0, skipped: 0 };
  const add = (counts) => {
    for (const key of Object.keys(total)) total[key] += counts?.[key] ?? 0;
  };
  for (const { name, action, required = false } of steps) {
    console.log(`\n== ${name}`);
    const start = performance.now();
    try {
      const counts = await action();
      add(counts);
      if (counts?.failed) throw new Error(`${counts.failed} failed`);
      console.log(`-- ${name}: ok (${seconds(start)})`);
    } catch (error) {
      // Counts of an action that threw travel on its error.
      add(error.counts);
      failures.push(name);
      console.log(error.message);
      console.log(`-- ${name}: FAILED (${seconds(start)})`);
      if (required) break;
    }
  }
  const outcome = failures.length === 0 ? 'All steps passed' : `FAILED: ${failures.join(', ')}`;
  const skipped = total.skipped === 0 ? '' : ` ${total.skipped} tests were skipped; each says why.`;
  console.log(`\n${outcome} in ${seconds(begin)}.${skipped}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  if (failures.length > 0) process.exitCode = 1;
}

module.exports = { runSteps };
