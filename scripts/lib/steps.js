'use strict';

const { fork } = require('node:child_process');

const { inParallel } = require('./run');

const seconds = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/**
 * Runs named steps one after the other and sums up. A step may return { passed, failed, skipped }, counts of tests.
 * A failing step does not stop the others, unless `required`: then what follows could not succeed. A list in a step's
 * place are steps that run side by side, as the processors allow, in processes of their own ({@link runStep}).
 */
async function runSteps(steps) {
  const begin = performance.now();
  const failures = [];
  const total = { passed: 0, failed: 0, skipped: 0 };
  /** `output` is what the step said, where it was not seen yet. */
  const sumUp = ({ name, start, output, counts, error }) => {
    for (const key of Object.keys(total)) total[key] += counts?.[key] ?? 0;
    if (output !== undefined) process.stdout.write(`\n== ${name}\n${output}`);
    if (error !== undefined) {
      failures.push(name);
      console.log(error);
    }
    console.log(`-- ${name}: ${error === undefined ? 'ok' : 'FAILED'} (${seconds(start)})`);
  };
  for (const step of steps) {
    const start = performance.now();
    if (Array.isArray(step)) {
      await sideBySide(step, sumUp);
    } else {
      console.log(`\n== ${step.name}`);
      sumUp({ name: step.name, start, ...(await outcomeOf(step)) });
      if (step.required && failures.includes(step.name)) break;
    }
  }
  const outcome = failures.length === 0 ? 'All steps passed' : `FAILED: ${failures.join(', ')}`;
  const skipped = total.skipped === 0 ? '' : ` ${total.skipped} tests were skipped; each says why.`;
  console.log(`\n${outcome} in ${seconds(begin)}.${skipped}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  if (failures.length > 0) process.exitCode = 1;
}

/** What a step returned, and what is wrong. Counts of an action that threw travel on its error. */
async function outcomeOf({ action }) {
  try {
    const counts = await action();
    return { counts, error: counts?.failed ? `${counts.failed} failed` : undefined };
  } catch (error) {
    return { counts: error.counts, error: error.message };
  }
}

async function sideBySide(steps, sumUp) {
  await inParallel(steps, async (step) => {
    const start = performance.now();
    sumUp({ name: step.name, start, ...(await inProcessOfItsOwn(step)) });
  });
}

function inProcessOfItsOwn({ name }) {
  return new Promise((resolve) => {
    const child = fork(process.argv[1], ['--step', name], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    let outcome = { error: 'ended without a result' };
    child.on('message', (message) => {
      outcome = message;
    });
    child
      .on('error', ({ message }) => resolve({ error: message, output }))
      .on('close', () => resolve({ ...outcome, output }));
  });
}

/** Runs the step of that name for {@link runSteps} in another process. */
async function runStep(step) {
  process.send(await outcomeOf(step));
}

module.exports = { runStep, runSteps };
