'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root, runNode } = require('./run');

/** Runs jest and returns its counts. A test file that could not run at all counts as one failure. */
function runJest(args, env = {}) {
  const report = path.join(root, 'out/jest.json');
  fs.mkdirSync(path.dirname(report), { recursive: true });
  fs.rmSync(report, { force: true });
  let failure;
  try {
    runNode('node_modules/jest/bin/jest.js', ['--ci', '--json', `--outputFile=${report}`, ...args], { env });
  } catch (error) {
    failure = error;
  }
  if (!fs.existsSync(report)) throw failure ?? new Error('jest left no report');
  const result = JSON.parse(fs.readFileSync(report, 'utf8'));
  const counts = {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests,
  };
  if (failure) throw Object.assign(failure, { counts });
  return counts;
}

module.exports = { runJest };
