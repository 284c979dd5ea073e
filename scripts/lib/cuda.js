'use strict';

const fs = require('node:fs');
const path = require('node:path');

const sources = require('../../native/sources.json');
const { outdated, walk } = require('./files');
const { inParallel, root, run, runAsync } = require('./run');
const { responds } = require('./setup');

/** What the library has code for; later GPUs compile the last one's. */
const allArchitectures = [75, 80, 86, 89, 90, 100, 120];
/** The oldest, the one with instructions of its own, and the newest, whose code is the same from sm_100 on. */
const someArchitectures = [75, 90, 120];
/** Which has instructions that no later one has, for code that no other runs. */
const targetOf = (architecture) => (architecture === 90 ? '90a' : String(architecture));
/** From here on, kernels that a step spends its time in may not spill registers; sm_75 copies through registers. */
const noSpillsFrom = 80;
const hot = new Set(
  `draw gated_norm_fast gemm gemm_few gemm_int8_clusters gemm_int8_wide gemm_many mix_quantize norm_quantize quantize_spans
  row_moments rwkv5_layers shift_quantize_runs shift_quantize_spans wkv4 wkv5_fast wkv5_sequence wkv7_fast wkv7_keys_fast`.split(
    /\s+/,
  ),
);
/** kLaunchRegisters of gemm_int8/cuda_clusters.cuh, where warps wait for what others give away: with fewer, forever. */
const registersOfClusters = 168;
const maxBytes = 10_000_000;

// Never run on Windows: written from the documentation of nvcc and of Microsoft's compiler.
const onWindows = process.platform === 'win32';
const package_ = `packages/cuda-${onWindows ? 'win32' : 'linux'}-x64`;
const library = `${package_}/wkv-cuda.${onWindows ? 'dll' : 'so'}`;
/** For the host's compiler and linker; what is not marked for export, Microsoft's does not. */
const hostFlags = onWindows ? '/EHsc,/utf-8,/Zc:preprocessor' : '-fPIC,-fvisibility=hidden';
const linkFlags = onWindows ? [] : ['-Xlinker', '-s'];

// Without --fmad=false the compiler would round where the simulated GPU does not, and differently in each kernel.
// Denormal numbers are 0 there as on the CPU's threads.
const flags = [
  ...['-std=c++20', '-O2', '--fmad=false', '--ftz=true', '-Inative', '-Xcompiler', hostFlags],
  ...['-Xptxas', '-v', '--compress-mode=size', '-cudart', 'static', '-DWKV_WIDE_PRODUCTS'],
];

/** What ptxas -v says of each kernel: { kernel, architecture, registers, spilled }. */
function readKernels(text) {
  const kernels = [];
  for (const part of text.split('Compiling entry function ').slice(1)) {
    const [, mangled, architecture] = /'(\S+)' for 'sm_(\d+)a?'/.exec(part) ?? [];
    const spilled = /(\d+) bytes spill stores/.exec(part)?.[1];
    const registers = /Used (\d+) registers/.exec(part)?.[1];
    if (mangled === undefined || spilled === undefined || registers === undefined) {
      throw new Error(`cannot read what ptxas says:\n${part}`);
    }
    // In a namespace without a name, which ends in a hash, or in wkv::cuda itself.
    const [, kernel = mangled] = /(?:_cu_[0-9a-f]{8}|4cuda)\d+([a-z]\w*?)_kernel/.exec(mangled) ?? [];
    kernels.push({
      kernel,
      architecture: Number(architecture),
      registers: Number(registers),
      spilled: Number(spilled),
    });
  }
  return kernels;
}

/** What is wrong with a file by what its compiler says, a sentence each. */
function problemsOf(file, output, architectures) {
  // Products in the background that would not be in the background, registers that nobody would hand on.
  if (/wgmma.*serialized|warpgroup\.wait is injected|setmaxnreg.*ignored/.test(output)) {
    return [`${file} waits where it should not:\n${output}`];
  }
  const kernels = readKernels(output);
  const problems = [];
  for (const name of new Set(kernels.map(({ kernel }) => kernel))) {
    const missing = architectures.filter(
      (each) => !kernels.some(({ kernel, architecture }) => kernel === name && architecture === each),
    );
    if (missing.length > 0) problems.push(`${file}: ${name} is not there for sm_${missing.join(', sm_')}`);
  }
  for (const { kernel, architecture, registers, spilled } of kernels) {
    if (kernel === 'gemm_int8_clusters' && architecture === 90 && registers !== registersOfClusters)
      problems.push(`${kernel} has ${registers} registers on sm_90, not ${registersOfClusters}`);
    if (hot.has(kernel) && architecture >= noSpillsFrom && spilled > 0) {
      problems.push(`${kernel} spills ${spilled} bytes on sm_${architecture}`);
    }
  }
  return problems;
}

/**
 * Compiles the CUDA sources, and others, where they are newer than what is in the folder `objects`. Throws where
 * something is wrong with one, which is then compiled again the next time.
 */
async function compileCuda(objects, architectures, others = []) {
  const inputs = ['scripts/lib/cuda.js', ...walk('native', (name) => /\.(cuh?|h)$/.test(name))];
  const last = architectures.at(-1);
  const forAll = architectures.flatMap((each) => [
    '-gencode',
    `arch=compute_${targetOf(each)},code=sm_${targetOf(each)}`,
  ]);
  forAll.push('-gencode', `arch=compute_${last},code=compute_${last}`);
  // Host code comes out the same for each.
  const forOne = ['-gencode', `arch=compute_${last},code=sm_${last}`];
  const hasKernels = (file) =>
    file.startsWith('native/kernels/') ||
    fs.readFileSync(path.join(root, file), 'utf8').includes('WKV_KERNEL');
  fs.mkdirSync(path.join(root, objects), { recursive: true });
  const objectOf = (file) => `${objects}/${file.replaceAll('/', '_')}.${onWindows ? 'obj' : 'o'}`;
  const all = [...sources.cuda.kernels, ...sources.cuda.library, ...others];
  // Most of the time of one without kernels goes into reading CUDA's headers: they share it.
  const host = `${objects}/host.cu`;
  const text = all
    .filter((file) => !hasKernels(file))
    .map((file) => `#include "${path.posix.relative('native', file)}"\n`)
    .join('');
  const unchanged =
    fs.existsSync(path.join(root, host)) && fs.readFileSync(path.join(root, host), 'utf8') === text;
  if (!unchanged) fs.writeFileSync(path.join(root, host), text);
  const files = [host, ...all.filter(hasKernels)];
  const failures = [];
  const due = files.filter((file) => outdated(objectOf(file), [file, ...inputs]));
  await inParallel(due, async (file) => {
    const unfinished = `${objectOf(file)}.unfinished`;
    const { status, output } = await runAsync('nvcc', [
      ...flags,
      ...(file === host ? forOne : forAll),
      '-c',
      file,
      '-o',
      unfinished,
    ]);
    const problems =
      status === 0 ? problemsOf(file, output, architectures) : [`${file} does not compile:\n${output}`];
    failures.push(...problems);
    if (problems.length === 0) fs.renameSync(path.join(root, unfinished), path.join(root, objectOf(file)));
  });
  if (failures.length > 0) throw new Error(failures.join('\n'));
  return files.map(objectOf);
}

/** For npm run check: compiles the kernels where there is a compiler for them; not for all, which takes long. */
async function checkCuda() {
  if (!responds('nvcc')) {
    console.log(
      'skipped, because there is no nvcc: the CUDA sources were compiled for the simulated GPU alone',
    );
    return;
  }
  await compileCuda('out/cuda-check', someArchitectures, [
    'native/gpu_check/instructions.cu',
    'native/gpu_check/ceilings.cu',
  ]);
}

/** Makes the package of the library for this platform. */
async function buildCuda() {
  const [own, main] = [`${package_}/package.json`, 'package.json'].map((file) =>
    JSON.parse(fs.readFileSync(path.join(root, file), 'utf8')),
  );
  if (own.version !== main.version) throw new Error(`${package_} is ${own.version}, wkv is ${main.version}`);
  if (own.scripts !== undefined) throw new Error(`${package_} must have no scripts`);
  const linked = await compileCuda('out/cuda', allArchitectures);
  run('nvcc', ['-shared', '-cudart', 'static', ...linkFlags, '-o', library, ...linked]);
  const { size } = fs.statSync(path.join(root, library));
  if (size > maxBytes) throw new Error(`${library} has ${size} bytes, more than ${maxBytes}`);
  fs.copyFileSync(path.join(root, 'LICENSE'), path.join(root, package_, 'LICENSE'));
  console.log(`${library}: ${Math.round(size / 1000)} kB`);
}

module.exports = { buildCuda, checkCuda };
