'use strict';

const { walk } = require('./files');
const { run, runNode } = require('./run');

/**
 * The formatters that come from the system. Their answers change between versions, so only the version that the files
 * are formatted with may fail a check; another one reports. prettier is pinned by package-lock.json.
 */
const systemFormatters = {
  'clang-format': {
    version: '14',
    files: () => [
      ...walk('native', (name) => /\.(cpp|cu|cuh|h)$/.test(name)),
      ...walk('scripts', (name) => name.endsWith('.c')),
    ],
    check: ['--dry-run', '--Werror'],
    write: ['-i'],
  },
  black: {
    version: '23',
    files: () => walk('scripts', (name) => name.endsWith('.py')),
    check: ['--quiet', '--line-length', '110', '--check', '--diff'],
    write: ['--quiet', '--line-length', '110'],
  },
};

const prettier = 'node_modules/prettier/bin/prettier.cjs';

function checkPrettier() {
  const cache = ['--cache', '--cache-location', 'out/prettier-cache'];
  runNode(prettier, ['--check', ...cache, '--log-level', 'warn', '.']);
}

const versionOf = (name) => /(?:version|,) (\d+)/.exec(run(name, ['--version'], { capture: true }))?.[1];

function checkSystemFormatter(name) {
  const { version, files, check } = systemFormatters[name];
  const found = versionOf(name);
  try {
    run(name, [...check, ...files()], { capture: true });
  } catch (error) {
    if (found === version) throw error;
    console.log(`not counted: ${name} ${found} is not the ${version} that the files are formatted with`);
  }
}

function formatEverything() {
  runNode(prettier, ['--write', '--log-level', 'warn', '.']);
  for (const [name, { version, files, write }] of Object.entries(systemFormatters)) {
    const found = versionOf(name);
    if (found !== version) throw new Error(`${name} ${found} would format otherwise than ${version} does`);
    run(name, [...write, ...files()]);
  }
}

module.exports = { checkPrettier, checkSystemFormatter, formatEverything };
