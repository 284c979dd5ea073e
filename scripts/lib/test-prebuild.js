'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { runJest } = require('./jest');
const { muslTools, withMusl } = require('./musl');
const { plainTests } = require('./plain-tests');
const { targets } = require('./prebuild');
const { fetchPackage } = require('./registry');
const { root, run, shellWord } = require('./run');
const { ensureTools, responds } = require('./setup');
const { testUnderWine, wineTools } = require('./wine');

const qemu = { name: 'qemu-user-static', present: () => responds('qemu-aarch64-static') };

/** The newest of each line that Node-API 8 has to work with; the oldest one as engines in package.json names it. */
const versions = { node20: '20.19.0', node22: '22.23.3', node24: '24.21.0', node26: '26.10.0' };

/** A few files that go through everything that a platform can get wrong: under an emulator all of them take an hour. */
const quickTests = [
  'test/kernels/kernels.test',
  'test/model/trained-models.test',
  'test/state/state.test',
  'test/sampler/sequences.test',
  'test/tokenizer/world.test',
];

/** What does not test the checkout's own scripts, texts and packaging. */
const foldersOfAll = [
  'chat',
  'cli',
  'cuda',
  'formats',
  'generation',
  'kernels',
  'loading',
  'memory',
  'model',
  'reference',
  'sampler',
  'session',
  'state',
  'tokenizer',
].map((folder) => `test/${folder}/`);

const nodes = Object.entries(versions).map(([name, version]) => [
  name,
  {
    what: `linux-x64 on Node ${version}`,
    tools: [],
    test: (options) => testHere({ ...options, node: nodeOf('linux-x64', version) }),
  },
]);

/** What else runs programs for Node: [name, version, package, what of it, its arguments]. */
const others = [
  ['Bun', '1.4.5', '@oven/bun-linux-x64', 'bin/bun', []],
  ['Deno', '2.9.6', '@deno/linux-x64-glibc', 'deno', ['run', '--allow-all']],
].map(([name, version, from, part, args]) => [
  name.toLowerCase(),
  {
    what: `linux-x64, the demo in ${name} ${version}`,
    tools: [],
    test: () => testDemo(path.join(fetchPackage(`${from}@${version}`, { part }), part), args),
  },
]);

/** Who can run the addons of prebuilds/ here, by name. */
const runners = {
  host: { what: 'this platform, on this Node', tools: [], test: testHere },
  ...(Object.hasOwn(targets, 'linux-x64-musl') ? Object.fromEntries([...nodes, ...others]) : {}),
  ...(Object.hasOwn(targets, 'linux-arm64') && process.arch === 'x64'
    ? {
        'no-avx': {
          what: 'linux-x64 under qemu, on a processor without AVX',
          tools: [qemu],
          test: (options) =>
            testForeign({
              ...options,
              // Whether the logits are right there, WKV_ISA=portable says at a processor's own speed.
              quickTests: ['test/state/state.test', 'test/tokenizer/world.test'],
              name: 'qemu-no-avx',
              target: 'linux-x64',
              env: { WKV_EMULATED: '1', WKV_TEST_ISA: 'portable' },
              starter: ['qemu-x86_64-static', '-cpu', 'Nehalem'],
            }),
        },
        'linux-arm64': {
          what: 'linux-arm64 under qemu',
          tools: [qemu, ...targets['linux-arm64'].tools],
          test: (options) =>
            testForeign({
              ...options,
              name: 'qemu-linux-arm64',
              target: 'linux-arm64',
              env: { WKV_EMULATED: '1', WKV_TEST_ISA: 'neon' },
              starter: ['qemu-aarch64-static', '-cpu', 'cortex-a53', '-L', '/usr/aarch64-linux-gnu'],
            }),
        },
        'linux-arm64-max': {
          what: 'linux-arm64 under qemu, on a processor with everything',
          tools: [qemu, ...targets['linux-arm64'].tools],
          test: (options) =>
            testForeign({
              ...options,
              quickTests: ['test/kernels/kernels.test', 'test/model/isa.test'],
              name: 'qemu-linux-arm64-max',
              target: 'linux-arm64',
              env: { WKV_EMULATED: '1', WKV_TEST_ISA: 'i8mm' },
              starter: ['qemu-aarch64-static', '-cpu', 'max', '-L', '/usr/aarch64-linux-gnu'],
            }),
        },
        'linux-x64-musl': {
          what: "linux-x64 on musl's C library",
          tools: [...muslTools, ...targets['linux-x64-musl'].tools],
          test: (options) =>
            testForeign({
              ...options,
              name: 'musl',
              target: 'linux-x64-musl',
              starter: withMusl(),
              env: { LIBC: 'musl' },
            }),
        },
        'win32-x64': {
          what: 'win32-x64 under wine',
          tools: [...wineTools, ...targets['win32-x64'].tools],
          test: ({ quick }) =>
            testUnderWine({
              prebuild: targets['win32-x64'].file,
              tests: quick ? quickTests : foldersOfAll,
              node: versions.node22,
            }),
        },
      }
    : {}),
};

function nodeOf(target, version) {
  return path.join(fetchPackage(`node-${target}@${version}`, { part: 'bin' }), 'bin/node');
}

/** PREBUILDS_ONLY has node-gyp-build pass over build/Release. */
function testHere({ quick, node }) {
  const tests = quick ? ['--runInBand', ...quickTests] : foldersOfAll;
  return runJest(tests, { PREBUILDS_ONLY: '1' }, { node });
}

/** Runs the demo, which is one test: everything but times has to come out as in Node. */
function testDemo(program, args) {
  const [expected, found] = [
    [process.execPath, []],
    [program, args],
  ].map(([command, before]) =>
    run(command, [...before, 'examples/demo.mjs'], { env: { PREBUILDS_ONLY: '1' }, capture: true }).replace(
      /[\d.]+(?= ms| a second)/g,
      '...',
    ),
  );
  if (found === expected) return { passed: 1, failed: 0, skipped: 0 };
  console.log(`Node says:\n${expected}\n${program} says:\n${found}`);
  return { passed: 0, failed: 1, skipped: 0 };
}

/**
 * Runs the tests as plain JavaScript, on a Node that only another program can start.
 *
 * @param name the runner's: side by side, each has a tree of its own
 * @param starter the command that starts Node, and its first arguments
 */
function testForeign({ quick, name, target, starter, env, quickTests: few = quickTests }) {
  const { file } = targets[target];
  const tree = plainTests({ name, prebuild: file });
  const [, platform] = file.split('/');
  const node = path.join(root, 'out', name, 'node');
  // Tests start processes of their own with process.execPath: by the same program, too.
  const command = [...starter, nodeOf(platform, versions.node22)].map(shellWord).join(' ');
  fs.writeFileSync(node, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  const prelude = path.join(root, 'out', name, 'prelude.js');
  fs.writeFileSync(prelude, `process.execPath = ${JSON.stringify(node)};\n`);
  return runJest(
    [
      '--runInBand',
      '--testPathIgnorePatterns',
      '\\.slow\\.test\\.js$',
      '--',
      ...(quick ? few : foldersOfAll),
    ],
    {
      PREBUILDS_ONLY: '1',
      ...env,
      NODE_OPTIONS: `--require=${JSON.stringify(prelude)}`,
      NAPI_RS_NATIVE_LIBRARY_PATH: path.join(tree, 'resolver.js'),
    },
    { node, cwd: tree },
  );
}

/** Installs what runners take, before they run side by side: the system's packages come one at a time. */
function prepareRunners(names) {
  for (const name of names) {
    try {
      ensureTools(runners[name].tools);
    } catch (error) {
      console.log(`${runners[name].what} is skipped: ${error.message}`);
    }
  }
}

/** Returns the counts of tests; where a machine lacks what it takes and cannot install it, one was skipped. */
function testPrebuild(name, { quick = false } = {}) {
  const { what, tools, test } = runners[name];
  try {
    ensureTools(tools);
  } catch (error) {
    console.log(`skipped, because ${what} cannot be run here: ${error.message}`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return test({ quick });
}

module.exports = { prepareRunners, runners, testPrebuild };
