'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { buildCudaSimulated } = require('./lib/native');
const { root } = require('./lib/run');

const help = `Usage: npm run test:mutants [-- NAME...]

Tests the tests of the CUDA kernels: plants one bug after another into a copy of a kernel and runs the tests on the
simulated GPU, with and without the look-out for races. Fails where a bug goes unnoticed. Takes some minutes.`;

const gemm = 'kernels/gemm_int8/cuda.cu';
const norm = 'kernels/layer_norm/cuda.cuh';
const quantize = 'kernels/quantize/cuda.cuh';
const sampling = 'kernels/sampling/cuda.cu';
const samplingRow = 'kernels/sampling/cuda_row.cuh';
const shift = 'kernels/token_shift/cuda.cu';
const wkv = 'kernels/wkv5/cuda.cu';

// `from` must be there exactly once; `compiled` where the file is a header.
const mutants = [
  {
    name: 'wkv5: no barrier before r and k are read',
    file: wkv,
    from: '    sync_block();\n    const float bonus',
    to: '    const float bonus',
  },
  {
    name: 'wkv5: no barrier before y is read',
    file: wkv,
    from: '    sync_block();  // from here on',
    to: '    //',
  },
  {
    name: 'wkv5: the bonus is left out',
    file: wkv,
    from: 'float sum = value * bonus;',
    to: 'float sum = 0.0F * bonus;',
  },
  {
    name: 'wkv5: the state is not written back',
    file: wkv,
    from: 'state[i * kSize + thread_index()] = column[i];',
    to: 'static_cast<void>(state);',
  },
  {
    name: 'gemm: waits for one batch too few',
    file: gemm,
    from: 'wait_copies<kDepth - 2>();',
    to: 'wait_copies<kDepth - 1>();',
  },
  {
    name: 'gemm: no barrier before the ring becomes sums',
    file: gemm,
    from: '  sync_block();  // the ring',
    to: '  // the ring',
  },
  {
    name: 'gemm: no barrier before the sums are added',
    file: gemm,
    from: '  sync_block();\n  const int output_row',
    to: '  const int output_row',
  },
  {
    name: 'gemm: copies into a place that is still to be read',
    file: gemm,
    from: 'next.begin_next(&ring[slot][lane]);',
    to: 'next.begin_next(&ring[(slot + 2) % kDepth][lane]);',
  },
  {
    name: 'gemm: rows of weights swapped',
    file: gemm,
    from: 'low.x, low.y, high.x',
    to: 'low.y, low.x, high.x',
  },
  {
    name: 'gemm: half of the columns twice',
    file: gemm,
    from: 'low_codes, high_codes);\n        multiply',
    to: 'low_codes, low_codes);\n        multiply',
  },
  {
    name: 'gemm: an odd unit at the end of a group is taken for a pair',
    file: gemm,
    from: 'const bool pair = unit + 1 < count;',
    to: 'const bool pair = unit < count;',
  },
  { name: 'gemm: no offsets', file: gemm, from: '[half][2] = offsets.x;', to: '[half][2] = 0;' },
  { name: "gemm: another row's scale", file: gemm, from: '* scales.y, x_scale', to: '* scales.x, x_scale' },
  {
    name: 'gemm: rows beyond the matrix are written',
    file: gemm,
    from: '  if (output_row >= product.rows) return;\n',
    to: '',
  },
  {
    name: 'gemm: tokens beyond the last are written',
    file: gemm,
    from: ' && first_token + i < a.all.tokens',
    to: '',
  },
  {
    name: 'gemm: one slice is not added',
    file: gemm,
    from: 'for (int s = 1; s < kSlices; ++s)',
    to: 'for (int s = 1; s < kSlices - 1; ++s)',
  },
  {
    name: 'quantize: sums of a lane alone',
    file: quantize,
    compiled: ['kernels/quantize/cuda.cu'],
    from: '  sum = warp_sum(sum);\n',
    to: '',
  },
  {
    name: 'quantize: NaN is not seen',
    file: quantize,
    compiled: ['kernels/quantize/cuda.cu'],
    from: '!finite ? float_of(0x7fc00000U) : any',
    to: 'any',
  },
  {
    name: 'layer norm: no barrier before its sums are used again',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu', 'kernels/token_shift/cuda.cu'],
    from: '  sync_block();\n  return sum;',
    to: '  return sum;',
  },
  {
    name: 'token shift: no barrier before the norms are read',
    file: shift,
    from: '  sync_block();\n\n  for (int index',
    to: '  for (int index',
  },
  {
    name: 'token shift: no barrier before the norm is replaced',
    file: shift,
    from: '    sync_block();\n    norm(segment.first',
    to: '    norm(segment.first',
  },
  {
    name: 'token shift: each token takes the state for the one before',
    file: shift,
    from: 'const bool first = token == segment.first;',
    to: 'const bool first = token >= segment.first;',
  },
  {
    name: 'sampling: no barrier before the penalties',
    file: sampling,
    from: '    sync_block();\n    for (int i = row.thread; i < options.edit_count',
    to: '    for (int i = row.thread; i < options.edit_count',
  },
  {
    name: 'sampling: what ties with the last of top_k stays',
    file: sampling,
    from: 'wanted - higher.weight - 1.0',
    to: 'wanted - higher.weight + row.size',
  },
  {
    name: 'sampling: half of the weights in single precision are left out',
    file: samplingRow,
    compiled: [sampling],
    from: '      both += shuffle_xor(both, 16);\n',
    to: '',
  },
  {
    name: 'sampling: no barrier before the list is searched',
    file: samplingRow,
    compiled: [sampling],
    from: '    sync_block();\n    return count;',
    to: '    return count;',
  },
  {
    name: 'sampling: what lies before a unit is not taken off',
    file: samplingRow,
    compiled: [sampling],
    from: 'double left = s.number;',
    to: 'double left = s.number + 0.1;',
  },
];

const folder = path.join(root, 'out/mutants');

function shell(command, cwd, timeout) {
  return spawnSync('sh', ['-c', command], { cwd, encoding: 'utf8', timeout, killSignal: 'SIGKILL' });
}

function must(command, cwd) {
  const { status, stdout, stderr } = shell(command, cwd);
  if (status !== 0) throw new Error(`${command}\n${stdout}${stderr}`);
}

/** Writes a copy of the file with the bug in it, where the compiler looks first. */
function plant({ name, file, from, to }) {
  const text = fs.readFileSync(path.join(root, 'native', file), 'utf8');
  if (text.split(from).length !== 2) throw new Error(`${name}: ${file} does not have this once:\n${from}`);
  const copy = path.join(folder, 'native', file);
  fs.mkdirSync(path.dirname(copy), { recursive: true });
  fs.writeFileSync(copy, text.replace(from, to));
}

/** Builds a test program with these sources compiled anew. The build's own commands are changed a little. */
function link({ build, target, objects, sources }) {
  const commands = JSON.parse(fs.readFileSync(path.join(build, 'compile_commands.json'), 'utf8'));
  let command = fs.readFileSync(path.join(build, `CMakeFiles/${target}.dir/link.txt`), 'utf8').trim();
  for (const source of sources) {
    const object = `CMakeFiles/${objects}.dir/native/${source}.o`;
    const compile = commands.find((each) => each.command.includes(`-o ${object} `));
    if (compile === undefined) throw new Error(`the build has no ${object}`);
    const mutated = path.join(folder, `${target}-${source.replaceAll('/', '_')}.o`);
    const planted = path.join(folder, 'native', source);
    const own = fs.existsSync(planted) ? planted : path.join(root, 'native', source);
    must(
      compile.command
        .replace(`-o ${object} `, `-o ${mutated} `)
        .replace(compile.file, own)
        .replace(' -I', ` -I${path.join(folder, 'native')} -I`),
      build,
    );
    command = command.replace(object, mutated);
  }
  const program = path.join(folder, target);
  must(command.replace(`-o ${target} `, `-o ${program} `), build);
  return program;
}

const builds = [
  { target: 'wkv_cuda_test', objects: 'wkv_cuda_simulated', called: 'values' },
  { target: 'wkv_cuda_races_test', objects: 'wkv_cuda_reporting', called: 'races' },
];

/** Which of the builds' tests notice the bug. */
function noticed(mutant, build) {
  fs.rmSync(folder, { recursive: true, force: true });
  plant(mutant);
  return builds.filter(({ target, objects }) => {
    const program = link({ build, target, objects, sources: mutant.compiled ?? [mutant.file] });
    const { status } = shell(
      `${program} --test-suite-exclude='CUDA model,CUDA library,draws*'`,
      build,
      60_000,
    );
    return status !== 0;
  });
}

function main(names) {
  if (names.includes('--help')) {
    console.log(help);
    return;
  }
  const [{ tests }] = buildCudaSimulated();
  const build = path.dirname(tests);
  const chosen = mutants.filter(({ name }) => names.length === 0 || names.includes(name));
  if (chosen.length === 0) throw new Error(`there are: ${mutants.map(({ name }) => name).join('; ')}`);
  let missed = 0;
  for (const mutant of chosen) {
    const by = noticed(mutant, build).map(({ called }) => called);
    missed += by.length === 0 ? 1 : 0;
    console.log(
      `${by.length === 0 ? 'MISSED' : 'found '}  ${mutant.name}${by.length > 0 ? ` (${by.join(', ')})` : ''}`,
    );
  }
  console.log(`${chosen.length - missed} passed, ${missed} failed`);
  if (missed > 0) process.exitCode = 1;
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
