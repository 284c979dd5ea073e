'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { inspectPrebuild } = require('./gate');
const { walk } = require('./files');
const { buildWindows, mingwTools } = require('./mingw');
const { root, run, runNode } = require('./run');
const { buildTools, responds } = require('./setup');
const { buildWithZig, zigTools } = require('./zig');

const host = `${process.platform}-${process.arch}`;
const libc = fs.existsSync('/etc/alpine-release') ? 'musl' : 'glibc';

const gateTools = [{ name: 'llvm', present: () => responds('llvm-readobj') }];

/**
 * What can be built here, by `platform-arch` (and `-musl` where that is not this platform's C library): the programs
 * that it takes, the file that comes out, and how; `slow` where zig builds, which compiles C++'s library first, for
 * minutes. Every machine can build for itself; Linux on x64 also for others.
 */
const targets = {
  [host]: {
    tools: process.platform === 'linux' ? [...buildTools, ...gateTools] : [],
    file: `prebuilds/${host}/${process.platform === 'linux' ? `wkv.${libc}.node` : 'wkv.node'}`,
    build: () => prebuildify(host),
  },
};

if (host === 'linux-x64' && libc === 'glibc') {
  const gnu = 'aarch64-linux-gnu';
  targets['linux-arm64'] = {
    tools: [
      ...buildTools,
      ...gateTools,
      { name: 'g++-aarch64-linux-gnu', present: () => responds(`${gnu}-g++`) },
    ],
    file: 'prebuilds/linux-arm64/wkv.glibc.node',
    build: () =>
      prebuildify('linux-arm64', {
        env: { CC: `${gnu}-gcc`, CXX: `${gnu}-g++`, AR: `${gnu}-ar`, LINK: `${gnu}-g++` },
        strip: `${gnu}-strip`,
      }),
  };
  targets['win32-x64'] = {
    tools: [...mingwTools, ...gateTools],
    file: 'prebuilds/win32-x64/wkv.node',
    build: () => place(buildWindows(), 'prebuilds/win32-x64/wkv.node'),
  };
  for (const processor of ['x64', 'arm64']) {
    const musl = `prebuilds/linux-${processor}/wkv.musl.node`;
    targets[`linux-${processor}-musl`] = {
      slow: true,
      tools: [...zigTools, ...gateTools],
      file: musl,
      build: () => place(buildWithZig('linux', processor), musl),
    };
    const mac = `prebuilds/darwin-${processor}/wkv.node`;
    targets[`darwin-${processor}`] = {
      slow: true,
      tools: [...zigTools, ...gateTools],
      file: mac,
      // Zig leaves the names of local functions there. What is signed is signed again.
      build: () => place(buildWithZig('darwin', processor), mac, ['llvm-strip', '--discard-all']),
    };
  }
}

/** What is for development, or of the GPU's library. */
const isElsewhere = /^native\/(bench|gpu_check|kernels\/cuda|simt|test)\/|\.cuh?$/;

/** What an addon is made of, and all that says how, for any target. */
const inputs = () => [
  'CMakeLists.txt',
  'binding.gyp',
  ...['prebuild', 'cross-build', 'mingw', 'zig'].map((name) => `scripts/lib/${name}.js`),
  'package-lock.json',
  ...walk('native').filter((file) => !isElsewhere.test(file)),
];

/** A hash of it. Times would not do: files also come from other machines, and git gives each a new time. */
function hashOfInputs() {
  const hash = createHash('sha256');
  for (const file of inputs()) hash.update(`${file}\0`).update(fs.readFileSync(path.join(root, file)));
  return hash.digest('hex');
}

/** Lies beside a binary in prebuilds/, and is not published: the hash of what it was made of. */
const recordOf = (file) => `${file}.sources`;

/** The binaries in a folder that were made of something else than what there is now. */
function stale(folder = path.join(root, 'prebuilds')) {
  const hash = hashOfInputs();
  const files = fs.existsSync(folder) ? fs.readdirSync(folder, { recursive: true }) : [];
  return files.filter((file) => file.endsWith('.node') && !isOf(hash, path.join(folder, file))).sort();
}

function isOf(hash, file) {
  const record = recordOf(file);
  return fs.existsSync(file) && fs.existsSync(record) && fs.readFileSync(record, 'utf8') === hash;
}

/** Builds a copy of the sources in out/prebuild/TARGET, so that build/Release stays what `npm run build` made. */
function prebuildify(target, { env = {}, strip = 'strip' } = {}) {
  const [platform, arch] = target.split('-');
  const tree = path.join(root, 'out/prebuild', target);
  fs.rmSync(tree, { recursive: true, force: true });
  fs.mkdirSync(tree, { recursive: true });
  for (const name of ['package.json', 'binding.gyp', 'native'])
    fs.cpSync(path.join(root, name), path.join(tree, name), { recursive: true });
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(tree, 'node_modules'), 'junction');
  // With its own tiny header directory node-gyp downloads nothing; on Windows it needs Node's node.lib.
  const nodedir = platform === 'win32' ? {} : { npm_config_nodedir: path.join(tree, 'native/nodedir') };
  const args = [
    `--cwd=${tree}`,
    `--out=${root}`,
    `--platform=${platform}`,
    `--arch=${arch}`,
    '--napi',
    '--strip',
  ];
  args.push(`--strip-bin=${strip}`, `--cache=${path.join(root, 'out/prebuild/cache')}`);
  if (platform === 'linux') args.push('--tag-libc', `--libc=${libc}`);
  runNode('node_modules/prebuildify/bin.js', args, {
    env: { ...env, ...nodedir, JOBS: 'max', npm_config_loglevel: 'error' },
    capture: true,
  });
}

/** Copies what was built to where it belongs, after another program has gone over it. */
function place(built, file, [command, ...args] = []) {
  const unfinished = `${file}.unfinished`;
  fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  fs.copyFileSync(built, path.join(root, unfinished));
  if (command !== undefined) run(command, [...args, unfinished]);
  fs.renameSync(path.join(root, unfinished), path.join(root, file));
}

/** The addon of `npm run build` as prebuildify would have it: compiled from the same files with the same options. */
const stripBuilt = (file) => place(path.join(root, 'build/Release/wkv.node'), file, ['strip', '--strip-all']);

/**
 * Builds what was made of other sources, and refuses what would not load everywhere. Returns the file.
 *
 * @param reuse whether what `npm run build` has just made stands for this platform's
 */
function prebuild(target, { reuse = false } = {}) {
  const { file, build } = targets[target];
  const reused = reuse && target === host && process.platform === 'linux';
  const hash = hashOfInputs();
  const absolute = path.join(root, file);
  if (!isOf(hash, absolute)) {
    fs.rmSync(recordOf(absolute), { force: true });
    (reused ? stripBuilt : build)(file);
    fs.writeFileSync(recordOf(absolute), hash);
  }
  gate(file);
  return file;
}

function gate(file) {
  if (!responds('llvm-readobj')) {
    console.log(`not inspected: ${file}, because there is no llvm-readobj`);
    return;
  }
  const [, platform] = file.split('/');
  const problems = inspectPrebuild(path.join(root, file), platform, /\.musl\./.test(file) ? 'musl' : 'glibc');
  const kilobytes = Math.round(fs.statSync(path.join(root, file)).size / 1000);
  if (problems.length > 0) throw new Error(`${file} cannot be shipped:\n  ${problems.join('\n  ')}`);
  console.log(`${file}: ${kilobytes} kB`);
}

/** Inspects every file in prebuilds/, wherever it was built. Returns their paths. */
function gateAll() {
  const files = walk('prebuilds', (name) => name.endsWith('.node'));
  for (const file of files) gate(file);
  return files;
}

module.exports = { targets, prebuild, gateAll, gateTools, hashOfInputs, stale };
