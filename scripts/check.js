'use strict';

require('./lib/require-node').requireNode();

const { build } = require('./lib/build');
const { checkCuda } = require('./lib/cuda');
const { runJest } = require('./lib/jest');
const { prebuild, targets } = require('./lib/prebuild');
const { runners, testPrebuild } = require('./lib/test-prebuild');
const { checkPrettier, checkSystemFormatter } = require('./lib/format');
const {
  buildCudaSimulated,
  buildEmulated,
  buildNative,
  lint,
  testGpuCheck,
  testNative,
} = require('./lib/native');
const { run, runNode } = require('./lib/run');
const { checkTools, ensureModules, ensureTools } = require('./lib/setup');
const { runSteps } = require('./lib/steps');

const help = `Usage: npm run check [-- --quick | --sanitize]

Sets up what is missing (Debian packages, node_modules), builds, and runs every formatter, linter, type check and test.
  --quick      without clang-tidy, prebuilt addons and slow tests (*.slow.test.ts): for every commit
  --sanitize   instead of all that: the native tests, and the tests that load models, with AddressSanitizer and
               UndefinedBehaviorSanitizer; the native tests, compiled by clang, with ThreadSanitizer too`;

const setup = [
  { name: 'system packages', action: () => ensureTools(checkTools), required: true },
  { name: 'node_modules', action: ensureModules, required: true },
];

const nativeTests = (options) => testNative(buildNative(options));

function cudaTests() {
  const counts = buildCudaSimulated().map((built) => testNative(built));
  testGpuCheck();
  const sum = (key) => counts.reduce((total, each) => total + each[key], 0);
  return { passed: sum('passed'), failed: sum('failed') };
}

const quick = [
  { name: 'build', action: build, required: true },
  { name: 'prettier', action: checkPrettier },
  { name: 'clang-format', action: () => checkSystemFormatter('clang-format') },
  { name: 'black', action: () => checkSystemFormatter('black') },
  {
    name: 'eslint',
    action: () => runNode('node_modules/eslint/bin/eslint.js', ['--max-warnings', '0', '.']),
  },
  { name: 'tsc', action: () => runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json']) },
  { name: 'pyflakes', action: () => run('pyflakes3', ['scripts']) },
  { name: 'native tests, gcc', action: () => nativeTests({ name: 'gcc', compiler: 'g++' }) },
  ...(process.platform === 'win32' ? [] : [{ name: 'CUDA on a simulated GPU', action: cudaTests }]),
  {
    name: 'jest',
    action: () => runJest(['--maxWorkers=2', '--testPathIgnorePatterns', '\\.slow\\.test\\.ts$']),
  },
];

const full = [
  ...quick.slice(0, -1),
  ...(process.arch === 'x64'
    ? [{ name: 'native tests, AVX-512 emulated', action: () => testNative(buildEmulated()) }]
    : []),
  { name: 'clang-tidy', action: lint },
  { name: 'nvcc', action: checkCuda },
  ...Object.keys(targets).map((name) => ({
    name: `prebuilt addon, ${name}`,
    action: () => buildPrebuilt(name),
  })),
  quick.at(-1),
  // One at a time: they take much memory, or watch it.
  { name: 'jest, slow tests', action: () => runJest(['--runInBand', '\\.slow\\.test\\.ts$']) },
  // The oldest and the newest Node; npm run test:prebuilds has those between.
  ...['node20', 'node26', 'no-avx', 'linux-arm64', 'linux-arm64-max', 'win32-x64']
    .filter((name) => Object.hasOwn(runners, name))
    .map((name) => ({
      name: `prebuilt addon, ${runners[name].what}`,
      action: () => testPrebuild(name, { quick: true }),
    })),
];

function buildPrebuilt(name) {
  ensureTools(targets[name].tools);
  prebuild(name);
}

function testAddonSanitized() {
  const { prebuild } = buildNative({
    ...{ name: 'asan', compiler: 'g++', sanitize: 'address,undefined', addon: true },
  });
  // Node is not built with the sanitizer, so its library has to come first; libstdc++ too, whose throw it replaces.
  const library = (name) => run('g++', [`-print-file-name=${name}`], { capture: true }).trim();
  const env = {
    WKV_PREBUILD: prebuild,
    WKV_SANITIZED: '1',
    LD_PRELOAD: `${library('libasan.so')} ${library('libstdc++.so')}`,
    // V8 itself leaves memory behind at exit.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
  // Nothing native is new in them, or the native tests have had it, and each process starts slowly. How much memory
  // is shared cannot be measured under a sanitizer, which keeps what was freed. A simulated GPU has stacks of its own.
  const ignored = [
    '\\.slow\\.test\\.ts$',
    '/test/(bench|chat|cli|docs|formats|generation|package|reference|support|verify-eagle)/',
    '/test/model/(cuda|int4|int8|same-bits|random-models|sharing|trained-models|version-tensors)',
  ];
  return runJest(['--maxWorkers=2', '--testPathIgnorePatterns', ...ignored], env);
}

const sanitize = [
  { name: 'build', action: build, required: true },
  {
    name: 'native tests, AddressSanitizer and UndefinedBehaviorSanitizer',
    action: () => nativeTests({ name: 'asan', compiler: 'g++', sanitize: 'address,undefined' }),
  },
  {
    name: 'native tests, ThreadSanitizer',
    action: () => nativeTests({ name: 'tsan', compiler: 'clang++', sanitize: 'thread' }),
  },
  { name: 'jest, AddressSanitizer and UndefinedBehaviorSanitizer', action: testAddonSanitized },
];

const options = new Set(process.argv.slice(2));
const known = { '--help': true, '--quick': quick, '--sanitize': sanitize };
const unknown = [...options].filter((option) => !Object.hasOwn(known, option));
if (unknown.length > 0 || options.size > 1) {
  console.error(`Cannot take together or does not know: ${[...options].join(' ')}\n\n${help}`);
  process.exitCode = 2;
} else if (options.has('--help')) {
  console.log(help);
} else {
  void runSteps([...setup, ...(known[[...options][0]] ?? full)]);
}
