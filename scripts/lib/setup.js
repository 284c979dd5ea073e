'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { modified } = require('./files');
const { run } = require('./run');

/** What the build needs of the system: Debian's name of the package and how to see that it is there. */
const buildTools = [
  { name: 'g++', present: () => responds('g++') },
  { name: 'make', present: () => responds('make') },
  { name: 'python3', present: () => responds('python3') },
];

/** What the checks need beside it. */
const checkTools = [
  ...buildTools,
  { name: 'cmake', present: () => responds('cmake') },
  { name: 'clang', present: () => responds('clang++') },
  { name: 'libclang-rt-dev', present: hasThreadSanitizer },
  { name: 'clang-tidy', present: () => responds('clang-tidy') },
  { name: 'clang-format', present: () => responds('clang-format') },
  { name: 'black', present: () => responds('black') },
  { name: 'pyflakes3', present: () => responds('pyflakes3') },
  { name: 'doctest-dev', present: () => hasHeader('doctest/doctest.h') },
  ...(process.arch === 'x64'
    ? [{ name: 'libsimde-dev', present: () => hasHeader('simde/x86/avx512.h') }]
    : []),
];

function responds(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Clang's sanitizers come in a package of their own, which it only recommends. */
function hasThreadSanitizer() {
  const { status, stdout } = spawnSync('clang++', ['-print-resource-dir'], { encoding: 'utf8' });
  if (status !== 0) return false;
  const directory = path.join(stdout.trim(), 'lib');
  const files = fs.existsSync(directory) ? fs.readdirSync(directory, { recursive: true }) : [];
  return files.some((file) => /clang_rt\.tsan.*\.(a|so|dylib)$/.test(file));
}

function hasHeader(header) {
  return ['/usr/include', '/usr/local/include', '/opt/homebrew/include'].some((directory) =>
    fs.existsSync(path.join(directory, header)),
  );
}

/** Installs what is missing where that is possible (Debian or Ubuntu, as root), else says what to install. */
function ensureTools(tools) {
  const missing = tools.filter((tool) => !tool.present()).map((tool) => tool.name);
  if (missing.length === 0) return;
  const debian = responds('apt-get');
  if (debian && process.getuid?.() === 0) {
    console.log(`Installing ${missing.join(' ')}`);
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    run('apt-get', ['update', '-qq'], { env, capture: true });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env, capture: true });
    const still = tools.filter((tool) => !tool.present()).map((tool) => tool.name);
    if (still.length === 0) return;
    throw new Error(`Still missing after apt-get install: ${still.join(', ')}`);
  }
  const advice = debian
    ? `  sudo apt-get update && sudo apt-get install -y ${missing.join(' ')}`
    : `  (these are the names of the packages in Debian and Ubuntu; install the same of your system)`;
  throw new Error(
    `These programs are missing: ${missing.join(', ')}. Install them and run this again:\n${advice}`,
  );
}

/** `npm ci`, unless node_modules is already that of package-lock.json. */
function ensureModules() {
  // npm writes node_modules/.package-lock.json as the last thing that it does.
  const installed = modified('node_modules/.package-lock.json');
  if (installed !== 0 && installed >= modified('package-lock.json')) return;
  console.log('Installing node_modules (npm ci)');
  const npm = path.join(path.dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');
  // With NODE_ENV=production, or as npm may be set up, it would leave out most of it.
  const all = ['--include=dev', '--include=optional'];
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', ...all];
  if (process.env.npm_execpath) run(process.execPath, [process.env.npm_execpath, ...args]);
  else if (fs.existsSync(npm)) run(process.execPath, [npm, ...args]);
  else run('npm', args);
}

module.exports = { buildTools, checkTools, responds, ensureTools, ensureModules };
