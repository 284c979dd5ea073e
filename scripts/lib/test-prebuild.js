'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { runJest } = require('./jest');
const { plainTests } = require('./plain-tests');
const { targets } = require('./prebuild');
const { fetchPackage } = require('./registry');
const { root, shellWord } = require('./run');
const { ensureTools, responds } = require('./setup');
const { testUnderWine, wineTools } = require('./wine');

const qemu = { name: 'qemu-user-static', present: () => responds('qemu-aarch64-static') };

/** The newest of each line that Node-API 8 has to work with; the oldest one as engines in package.json names it. */
const versions = { node20: '20.19.0', node22: '22.23.3', node24: '24.21.0', node26: '26.10.0' };

/** A few files that go through everything that a platform can get wrong: under an emulator all of them take an hour. */
const quickTests = [
  'test/kernels/kernels.test',
  'test/model/trained-models.test',
  'test/model/state.test',
  'test/sampler/sequences.test',
  'test/tokenizer/world.test',
];

/** What does not test the checkout's own scripts, texts and packaging. */
const foldersOfAll = [
  'chat',
  'cli',
  'formats',
  'generation',
  'kernels',
  'model',
  'reference',
  'sampler',
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

/** Who can run the addons of prebuilds/ here, by name. */
const runners = {
  host: { what: 'this platform, on this Node', tools: [], test: testHere },
  ...Object.fromEntries(process.platform === 'linux' && process.arch === 'x64' ? nodes : []),
  ...(Object.hasOwn(targets, 'linux-arm64') && process.arch === 'x64'
    ? {
        'no-avx': {
          what: 'linux-x64 under qemu, on a processor without AVX',
          tools: [qemu],
          test: (options) =>
            testUnderQemu({
              ...options,
              // Whether the logits are right there, WKV_ISA=portable says at a processor's own speed.
              quickTests: ['test/model/state.test', 'test/tokenizer/world.test'],
              name: 'no-avx',
              target: 'linux-x64',
              isa: 'portable',
              emulator: ['qemu-x86_64-static', '-cpu', 'Nehalem'],
            }),
        },
        'linux-arm64': {
          what: 'linux-arm64 under qemu',
          tools: [qemu, ...targets['linux-arm64'].tools],
          test: (options) =>
            testUnderQemu({
              ...options,
              name: 'linux-arm64',
              target: 'linux-arm64',
              isa: 'neon',
              emulator: ['qemu-aarch64-static', '-cpu', 'cortex-a53', '-L', '/usr/aarch64-linux-gnu'],
            }),
        },
        'linux-arm64-max': {
          what: 'linux-arm64 under qemu, on a processor with everything',
          tools: [qemu, ...targets['linux-arm64'].tools],
          test: (options) =>
            testUnderQemu({
              ...options,
              quickTests: ['test/kernels/kernels.test', 'test/model/isa.test'],
              name: 'linux-arm64-max',
              target: 'linux-arm64',
              isa: 'i8mm',
              emulator: ['qemu-aarch64-static', '-cpu', 'max', '-L', '/usr/aarch64-linux-gnu'],
            }),
        },
        'win32-x64': {
          what: 'win32-x64 under wine',
          tools: [...wineTools, ...targets['win32-x64'].tools],
          test: ({ quick }) =>
            testUnderWine({
              prebuild: path.join(root, targets['win32-x64'].file),
              tests: quick ? quickTests : foldersOfAll,
              node: versions.node22,
            }),
        },
      }
    : {}),
};

function nodeOf(target, version) {
  return path.join(fetchPackage(`node-${target}@${version}`, 'bin'), 'bin/node');
}

/** PREBUILDS_ONLY has node-gyp-build pass over build/Release. */
function testHere({ quick, node }) {
  const tests = quick ? ['--runInBand', ...quickTests] : foldersOfAll;
  return runJest(tests, { PREBUILDS_ONLY: '1' }, { node });
}

/**
 * @param name the runner's: side by side, each has a tree of its own
 * @param isa what has to be chosen on the emulated processor
 */
function testUnderQemu({ quick, name: runner, target, isa, emulator, quickTests: few = quickTests }) {
  const name = `qemu-${runner}`;
  const tree = plainTests({ name, prebuild: path.join(root, targets[target].file), tuple: target });
  const node = path.join(root, 'out', name, 'node');
  // Tests start processes of their own with process.execPath: the emulator, too.
  fs.writeFileSync(
    node,
    `#!/bin/sh\nexec ${[...emulator, nodeOf(target, versions.node22)].map(shellWord).join(' ')} "$@"\n`,
    {
      mode: 0o755,
    },
  );
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
      WKV_EMULATED: '1',
      WKV_TEST_ISA: isa,
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
