'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { root, run } = require('./run');

/**
 * Runs jest and returns its counts. A test file that could not run at all counts as one failure.
 *
 * @param node the Node that it runs in, and `cwd` the folder with its configuration
 */
function runJest(args, env = {}, { node = process.execPath, cwd = root } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wkv-jest-'));
  const report = path.join(folder, 'report.json');
  let failure;
  try {
    const jest = path.join(root, 'node_modules/jest/bin/jest.js');
    run(node, [jest, '--ci', '--json', `--outputFile=${report}`, ...args], { env, cwd });
  } catch (error) {
    failure = error;
  }
  const written = fs.existsSync(report);
  const result = written ? JSON.parse(fs.readFileSync(report, 'utf8')) : undefined;
  fs.rmSync(folder, { recursive: true });
  if (!written) throw failure ?? new Error('jest left no report');
  const counts = {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests,
  };
  if (failure) throw Object.assign(failure, { counts });
  return counts;
}

module.exports = { runJest };
