'use strict';

require('./lib/require-node').requireNode();

const { build } = require('./lib/build');
const { checkCuda } = require('./lib/cuda');
const { runJest } = require('./lib/jest');
const { installLlamaCpp } = require('./lib/llama-cpp');
const { prebuild, targets } = require('./lib/prebuild');
const { prepareRunners, runners, testPrebuild } = require('./lib/test-prebuild');
const { checkPrettier, checkSystemFormatter } = require('./lib/format');
const {
  buildCudaSimulated,
  cudaPrograms,
  buildEmulated,
  buildNative,
  lint,
  testGpuCheck,
  testNative,
} = require('./lib/native');
const { run, runNode } = require('./lib/run');
const { checkTools, ensureModules, ensureTools } = require('./lib/setup');
const { runStep, runSteps } = require('./lib/steps');
const { buildWithZig, zigTools } = require('./lib/zig');

const help = `Usage: npm run check [-- --quick | --sanitize | --step NAME]

Sets up what is missing (Debian packages, node_modules), builds, and runs every formatter, linter, type check and test.
  --step NAME  one step alone, by the name that it is shown with; jest with its slow tests
  --quick      without clang-tidy, the simulated GPU, prebuilt addons and slow tests (*.slow.test.ts): for every commit
  --sanitize   instead of all that: the native tests, and the tests that load models, with AddressSanitizer and
               UndefinedBehaviorSanitizer; those of what has threads, compiled by clang, with ThreadSanitizer too`;

const setup = [
  { name: 'system packages', action: () => ensureTools(checkTools), required: true },
  { name: 'node_modules', action: ensureModules, required: true },
];

const nativeTests = (options) => testNative(buildNative(options));

/** A step that Windows has not: the simulated GPU switches stacks as POSIX has it. */
function onSimulatedGpu(step) {
  return process.platform === 'win32' ? [] : [step];
}

/** Side by side, when they are built, the slowest first. */
const cudaTests = [
  { name: 'CUDA on a simulated GPU, races', action: () => testNative(cudaPrograms().races) },
  { name: 'CUDA on a simulated GPU', action: () => testNative(cudaPrograms().values) },
  { name: 'CUDA on a simulated GPU, the program of gpu-check', action: testGpuCheck },
];

const slow = '\\.slow\\.test\\.ts$';
/** Files of these names: nothing runs beside them, as collections of garbage come late then. */
const watchesMemory = `/(cycles|memory)${slow}`;
/** The oldest and the newest Node; npm run test:prebuilds has those between. The slowest first. */
const wanted = ['linux-arm64', 'linux-arm64-max', 'win32-x64', 'no-avx', 'node20', 'node26', 'bun', 'deno'];
const tried = wanted.filter((name) => Object.hasOwn(runners, name));

const quick = [
  { name: 'build', action: build, required: true },
  [
    // The slowest first: two run at a time.
    {
      name: 'eslint',
      action: () => runNode('node_modules/eslint/bin/eslint.js', ['--max-warnings', '0', '.']),
    },
    { name: 'prettier', action: checkPrettier },
    { name: 'clang-format', action: () => checkSystemFormatter('clang-format') },
    { name: 'black', action: () => checkSystemFormatter('black') },
    ...['tsconfig.json', 'examples/tsconfig.json'].map((project) => ({
      name: `tsc, ${project}`,
      action: () => runNode('node_modules/typescript/bin/tsc', ['-p', project]),
    })),
    { name: 'pyflakes', action: () => run('pyflakes3', ['scripts']) },
  ],
  { name: 'native tests, gcc', action: () => nativeTests() },
  ...onSimulatedGpu({ name: 'CUDA tests, build', action: buildCudaSimulated }),
  {
    name: 'jest',
    action: () => runJest(['--maxWorkers=2', '--testPathIgnorePatterns', slow]),
  },
];

const full = [
  ...quick.slice(0, -1),
  ...onSimulatedGpu(cudaTests),
  ...(process.arch === 'x64'
    ? [{ name: 'native tests, AVX-512 emulated', action: () => testNative(buildEmulated()) }]
    : []),
  { name: 'clang-tidy', action: lint },
  { name: 'nvcc', action: checkCuda },
  ...Object.keys(targets)
    .filter((name) => !targets[name].slow)
    .map(prebuiltAddon),
  // The slow ones are not linked, and one of them is compiled: npm run prebuild and test:prebuilds do the rest.
  ...(process.platform === 'linux' && targets['darwin-arm64'] !== undefined
    ? [{ name: 'addon for macOS, compiled', action: compileForMac }]
    : []),
  ...(process.platform === 'linux' && process.arch === 'x64'
    ? [{ name: 'llama.cpp, to compare with', action: installLlamaCpp }]
    : []),
  {
    name: 'jest',
    action: () => runJest(['--maxWorkers=2', '--testPathIgnorePatterns', watchesMemory]),
  },
  { name: 'emulators', action: () => prepareRunners(tried) },
  // One at a time: they take much memory, too.
  { name: 'jest, slow tests that watch memory', action: () => runJest(['--runInBand', watchesMemory]) },
  tried.map((name) => ({
    name: `prebuilt addon, ${runners[name].what}`,
    action: () => testPrebuild(name, { quick: true }),
  })),
];

function prebuiltAddon(name) {
  return {
    name: `prebuilt addon, ${name}`,
    action: () => {
      ensureTools(targets[name].tools);
      prebuild(name, { reuse: true });
    },
  };
}

function compileForMac() {
  ensureTools(zigTools);
  buildWithZig('darwin', 'arm64', { link: false });
}

function testAddonSanitized() {
  const { prebuild } = buildNative({
    ...{ name: 'asan', compiler: 'clang++', sanitize: 'address,undefined', addon: true },
  });
  // Node is not built with the sanitizer, so its library has to come first; libstdc++ too, whose throw it replaces.
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
  const library = (name) => run('clang++', [`-print-file-name=${name}`], { capture: true }).trim();
  const env = {
    WKV_PREBUILD: prebuild,
    WKV_SANITIZED: '1',
    LD_PRELOAD: `${library(`libclang_rt.asan-${machine}.so`)} ${library('libstdc++.so')}`,
    // V8 itself leaves memory behind at exit.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
  // Nothing native is new in them, or the native tests have had it, and each process starts slowly. How much memory
  // is shared cannot be measured under a sanitizer, which keeps what was freed. A simulated GPU has stacks of its own.
  const ignored = [
    slow,
    '/test/(bench|chat|cli|cuda|docs|formats|package|reference|support|verify-eagle)/',
    '/test/generation/(evaluated-tokens|iterator|stops)',
    '/test/loading/(sharing|version-tensors)',
    '/test/model/(int4|int8|isa|random-models|same-bits|trained-models)',
    '/test/session/event-loop',
    '/test/tokenizer/vocabulary-script',
  ];
  return runJest(['--maxWorkers=2', '--testPathIgnorePatterns', ...ignored], env);
}

const sanitize = [
  { name: 'build', action: build, required: true },
  [
    {
      name: 'native tests, AddressSanitizer and UndefinedBehaviorSanitizer',
      action: () => nativeTests({ name: 'asan', compiler: 'clang++', sanitize: 'address,undefined' }),
    },
    {
      name: 'native tests, ThreadSanitizer',
      action: () => nativeTests({ name: 'tsan', compiler: 'clang++', sanitize: 'thread' }),
    },
  ],
  { name: 'jest, AddressSanitizer and UndefinedBehaviorSanitizer', action: testAddonSanitized },
];

const options = process.argv.slice(2);
const known = { '--quick': quick, '--sanitize': sanitize };
const [option, name] = options;
const one =
  option === '--step'
    ? [...setup, ...full, ...sanitize].flat().find((step) => step.name === name)
    : undefined;
if (options.length === 2 && one !== undefined) {
  void (process.send === undefined ? runSteps([one]) : runStep(one));
} else if (
  options.length > 1 ||
  (option !== undefined && option !== '--help' && !Object.hasOwn(known, option))
) {
  console.error(`Cannot take together or does not know: ${options.join(' ')}\n\n${help}`);
  process.exitCode = 2;
} else if (option === '--help') {
  console.log(help);
} else {
  void runSteps([...setup, ...(option === undefined ? full : known[option])]);
}
