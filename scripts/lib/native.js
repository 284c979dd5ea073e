'use strict';

const fs = require('node:fs');
const path = require('node:path');

const sources = require('../../native/sources.json');
const { jobs } = require('./build');
const { outdated, walk } = require('./files');
const { inParallel, root, run, runAsync, runNode } = require('./run');

const gcc = { name: 'gcc', compiler: 'g++' };

/** Configures out/NAME/build with one compiler, which writes its compile commands; returns out/NAME. */
function configureNative({ name, compiler, sanitize = '', precompile = true, others = [] } = gcc) {
  const out = `out/${name}`;
  const inputs = ['node_modules/.package-lock.json', 'scripts/lib/native.js', ...others];
  if (outdated(`${out}/build/CMakeCache.txt`, inputs)) {
    fs.rmSync(path.join(root, out), { recursive: true, force: true });
    const variables = {
      CMAKE_CXX_COMPILER: compiler,
      CMAKE_DISABLE_PRECOMPILE_HEADERS: precompile ? 'OFF' : 'ON',
      WKV_SANITIZE: sanitize,
    };
    const options = Object.entries(variables).map(([variable, value]) => `--CD${variable}=${value}`);
    const args = ['configure', '--out', `${out}/build`, '--log-level', 'error', ...options];
    runNode('node_modules/cmake-js/bin/cmake-js', args, { capture: true });
  }
  return out;
}

/** Builds targets of CMakeLists.txt into out/NAME/build with one compiler, and returns that folder. */
function buildTargets(targets, options = gcc) {
  const build = `${configureNative(options)}/build`;
  run('cmake', ['--build', build, '--target', ...targets, '--parallel', jobs], { capture: true });
  return path.join(root, build);
}

/**
 * Builds the native tests and, where `addon` says so, the addon. Returns their paths; `prebuild` is what the variable
 * WKV_PREBUILD takes to load this addon.
 */
function buildNative({ addon = false, ...options } = gcc) {
  const build = buildTargets(addon ? ['wkv_test', 'wkv'] : ['wkv_test'], options);
  return { tests: path.join(build, 'wkv_test'), prebuild: path.dirname(build) };
}

/** Builds the tests of the kernels for AVX-512 with emulated instructions. */
function buildEmulated() {
  return { tests: path.join(buildTargets(['wkv_emulated_test']), 'wkv_emulated_test') };
}

/**
 * Builds the CUDA backend on a simulated GPU: its tests, the same with a look-out for races, the library that the addon
 * opens, and the program of scripts/gpu-check. Returns their folder.
 */
function buildCudaSimulated() {
  return buildTargets(['wkv_cuda_test', 'wkv_cuda_races_test', 'wkv_cuda', 'wkv_gpu_check']);
}

/** Its tests: of what is computed, and of who reads what another writes. */
function cudaPrograms() {
  const build = path.join(root, 'out/gcc/build');
  return {
    values: { tests: path.join(build, 'wkv_cuda_test') },
    races: { tests: path.join(build, 'wkv_cuda_races_test') },
  };
}

/** Runs the program of scripts/gpu-check with the simulated GPU in a GPU's place. */
function testGpuCheck() {
  const build = path.join(root, 'out/gcc/build');
  const library = path.join(build, 'wkv-cuda-simulated.so');
  const report = path.join(build, 'gpu-check.json');
  const env = { WKV_SIMULATED_GPU: 'architecture=90' }; // which has all forms of kernels
  for (const part of ['checks', 'layers-bulk', 'layers-lanes', 'clusters']) {
    run(path.join(build, 'wkv_gpu_check'), [part, library, library, report, '--small'], {
      env,
      capture: true,
    });
  }
}

/** Runs the native tests and returns how many test cases passed and failed. */
function testNative({ tests }) {
  const output = run(tests, ['--no-colors', '--no-version'], { capture: true });
  const match = /test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed/.exec(output);
  if (!match) throw new Error(`cannot read the summary of the native tests:\n${output}`);
  return { passed: Number(match[2]), failed: Number(match[3]) };
}

/** The analyzer looks at a tenth of the states of a function that it would by default, in a third of the time. */
const tidy = ['-p', 'out/tidy', '--quiet'].concat(
  ['-Xclang', '-analyzer-config', '-Xclang', 'max-nodes=20000'].map((arg) => `--extra-arg=${arg}`),
);

/** Not what no user runs: that is compiled with warnings as errors, and run under sanitizers or itself one. */
const isLinted = /^native\/(?!test\/|gpu_check\/|simt\/).*\.cpp$/;
const isKernel = /^native\/kernels\//;
/** How many files clang-tidy looks at as one: most of its time goes into the headers of the standard library. */
const lintedAtOnce = 8;

/** What to lint, as lists of files that are compiled with the same options: [{ compile, files }]. */
function groupsToLint() {
  const commands = JSON.parse(
    fs.readFileSync(path.join(root, 'out/clang/build/compile_commands.json'), 'utf8'),
  );
  const groups = new Map();
  const seen = new Set();
  for (const { command, file: compiled } of commands) {
    const file = path.relative(root, compiled);
    if (!isLinted.test(file) || seen.has(file)) continue;
    seen.add(file);
    const compile = command.slice(0, command.lastIndexOf(' -o '));
    const key = [compile, isKernel.test(file), sources.alone.includes(file) ? file : ''].join();
    if (!groups.has(key)) groups.set(key, { compile, files: [] });
    groups.get(key).files.push(file);
  }
  return [...groups.values()].flatMap(({ compile, files }) =>
    Array.from({ length: Math.ceil(files.length / lintedAtOnce) }, (_, index) => ({
      compile,
      files: files.slice(index * lintedAtOnce, (index + 1) * lintedAtOnce),
    })),
  );
}

/**
 * clang-tidy over what changed since it was last clean; it says what clang would warn of, too. It looks for most of
 * that only in the file that it is given, not in one that this includes: so their lines are put into one.
 */
async function lint() {
  // Nothing is built there, which would configure it anew.
  const others = ['CMakeLists.txt', 'native/sources.json'];
  configureNative({ name: 'clang', compiler: 'clang++', precompile: false, others });
  const folder = path.join(root, 'out/tidy');
  fs.mkdirSync(folder, { recursive: true });
  const units = groupsToLint().map(({ compile, files }) => {
    const unit = path.join(folder, files[0].replaceAll('/', '_'));
    return { unit, files, command: { directory: root, file: unit, command: `${compile} -c "${unit}"` } };
  });
  fs.writeFileSync(
    path.join(folder, 'compile_commands.json'),
    JSON.stringify(units.map(({ command }) => command)),
  );
  const headers = walk('native', (name) => name.endsWith('.h'));
  const inputs = ['.clang-tidy', 'native/sources.json', 'scripts/lib/native.js', ...headers];
  const failures = [];
  await inParallel(units, async ({ unit, files }) => {
    const stamp = `${unit}.clean`;
    if (!outdated(path.relative(root, stamp), [...inputs, ...files])) return;
    const texts = files.map((file) => fs.readFileSync(path.join(root, file), 'utf8'));
    fs.writeFileSync(unit, texts.join('\n'));
    // What native/kernels/.clang-tidy says is not found from there.
    const unwanted = isKernel.test(files[0]) ? '-bugprone-implicit-widening-of-multiplication-result' : '';
    const { status, output } = await runAsync('clang-tidy', [...tidy, `--checks=${unwanted}`, unit]);
    if (status === 0) {
      fs.writeFileSync(stamp, '');
      return;
    }
    failures.push(...files);
    const places = texts.flatMap((text, index) =>
      text.split('\n').map((_, line) => `${files[index]}:${line + 1}`),
    );
    const [before, ...rest] = output.split(`${unit}:`);
    console.log(before + rest.map((text) => text.replace(/^\d+/, (line) => places[line - 1])).join(''));
  });
  if (failures.length > 0) throw new Error(`clang-tidy: ${failures.join(', ')}`);
}

module.exports = {
  buildCudaSimulated,
  buildEmulated,
  buildNative,
  buildTargets,
  configureNative,
  cudaPrograms,
  lint,
  testGpuCheck,
  testNative,
};
