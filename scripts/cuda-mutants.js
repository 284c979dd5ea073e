'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { buildCudaSimulated, cudaPrograms } = require('./lib/native');
const { root } = require('./lib/run');

const help = `Usage: npm run test:mutants [-- NAME...]

Tests the tests of the CUDA kernels: plants one bug after another into a copy of a kernel and runs the tests on the
simulated GPU, with and without the look-out for races. Fails where a bug goes unnoticed. Takes some minutes.`;

const few = 'kernels/gemm_int8/cuda_few.cuh';
const many = 'kernels/gemm_int8/cuda_many.cuh';
const wide = 'kernels/gemm_int8/cuda_wide.cuh';
const arrange = 'kernels/gemm_int8/cuda_arrange.cu';
const product = 'kernels/gemm_int8/cuda_product.cuh';
const gemm = ['kernels/gemm_int8/cuda.cu'];
const gated = 'kernels/gated_norm/cuda.cu';
const narrow = 'kernels/gemm/cuda.cu';
const norm = 'kernels/layer_norm/cuda.cuh';
const quantize = 'kernels/quantize/cuda.cuh';
const sampling = 'kernels/sampling/cuda.cu';
const samplingRow = 'kernels/sampling/cuda_row.cuh';
const shift = 'kernels/token_shift/cuda.cu';
const mix = 'kernels/token_shift/cuda_mix.cu';
const wkv = 'kernels/wkv5/cuda.cu';
const sequence = 'kernels/wkv5/cuda_sequence.cu';
const wkvShared = 'kernels/wkv5/cuda.cuh';
const wkv4 = 'kernels/wkv4/cuda.cu';
const wkv7 = 'kernels/wkv7/cuda.cu';
const keys = 'kernels/wkv7/cuda_keys.cu';
// All that have a copy of the same functions, of which the linker takes one.
const quantizing = [
  ...['gated_norm', 'layer_norm', 'quantize', 'token_shift'].map((name) => `kernels/${name}/cuda.cu`),
  mix,
];

// `from` must be there exactly once; `compiled` where the file is a header.
const mutants = [
  {
    name: 'wkv5: no barrier before a chunk is read',
    file: wkv,
    from: '    sync_block();  // the chunk is there',
    to: '    //',
  },
  {
    name: 'wkv5: does not wait for a chunk',
    file: wkv,
    from: 'wait_copies<0>();\n    sync_block();  // the chunk',
    to: 'wait_copies<1>();\n    sync_block();  // the chunk',
  },
  {
    name: 'wkv5: a chunk comes to another place than it is read from',
    file: wkv,
    from: '      Chunk<kForgetOfToken>& chunk = shared.chunks[token / kTokens % 2];',
    to: '      Chunk<kForgetOfToken>& chunk = shared.chunks[token / (2 * kTokens) % 2];',
  },
  {
    name: 'wkv5: no barrier before the runs are added',
    file: wkv,
    from: '    sync_block();\n    for (int t = run;',
    to: '    for (int t = run;',
  },
  {
    name: 'wkv5: the runs are added in another order',
    file: wkvShared,
    compiled: [wkv, sequence],
    from: '(q[0][column] + q[1][column]) + (q[2][column] + q[3][column])',
    to: '(q[0][column] + q[2][column]) + (q[1][column] + q[3][column])',
  },
  {
    name: 'wkv5: the bonus is left out',
    file: wkvShared,
    compiled: [wkv, sequence],
    from: '(v)[column], bonus, sum)',
    to: '(v)[column], 0 * bonus, sum)',
  },
  {
    name: 'wkv5: the state is not written back',
    file: wkv,
    from: 'state[i * kFastSize] = s[i];',
    to: 'static_cast<void>(state);',
  },
  {
    name: 'wkv5, sequence: no barrier before a chunk is read',
    file: sequence,
    from: '    sync_block();  // the chunk is there',
    to: '    //',
  },
  {
    name: 'wkv5, sequence: does not wait for a chunk',
    file: sequence,
    from: '    wait_copies<0>();',
    to: '    wait_copies<1>();',
  },
  {
    name: 'wkv5, sequence: a chunk comes to where the one before is finished',
    file: sequence,
    from: 'begin_tokens<kHelpers>(shared.chunks[token / kTokens % 3]',
    to: 'begin_tokens<kHelpers>(shared.chunks[token / kTokens % 2]',
  },
  {
    name: 'wkv5, sequence: one place for the sums of all chunks',
    file: sequence,
    from: 'auto& sums = shared.sums[token / kTokens % 2];',
    to: 'auto& sums = shared.sums[0 * token];',
  },
  {
    name: 'wkv5, sequence: bonuses of the chunk after',
    file: sequence,
    from: 'shared.bonus[parity][t]',
    to: 'shared.bonus[1 - parity][t]',
  },
  {
    name: 'wkv5, sequence: the last chunk is not finished',
    file: sequence,
    from: 'token < segment.tokens + kTokens;',
    to: 'token < segment.tokens;',
  },
  {
    name: "wkv5, sequence: a group has the first token's sums",
    file: sequence,
    from: '= of_group[i];',
    to: '= of_group[0];',
  },
  {
    name: 'wkv5, sequence: the state is not written back',
    file: sequence,
    from: 'state[i * kWkv5FastSize + c] = s[i][c];',
    to: 'static_cast<void>(state);',
  },
  {
    name: 'wkv5, any size: no barrier before r and k are replaced',
    file: wkv,
    from: '    sync_block();  // from here on',
    to: '    //',
  },
  {
    name: 'gated norm: the halves of a head are not added',
    file: gated,
    from: 'return half + shuffle_xor(half, 8);',
    to: 'return half;',
  },
  {
    name: "gated norm: the group's part of a head begins elsewhere",
    file: gated,
    from: '(head - lane_first + kWarp - 1) / kWarp * kWarp',
    to: '(head - lane_first) / kWarp * kWarp',
  },
  {
    name: 'few tokens: waits for one stage too few',
    file: few,
    compiled: gemm,
    from: 'wait_copies<kDepth - 1>();',
    to: 'wait_copies<kDepth>();',
  },
  {
    name: 'few tokens: no barrier before the sums are added',
    file: few,
    compiled: gemm,
    from: '    load_scales(first);\n    sync_block();\n',
    to: '    load_scales(first);\n',
  },
  {
    name: 'few tokens: no barrier after the sums are added',
    file: few,
    compiled: gemm,
    from: '    sync_block();\n  }\n\n  const int output_row',
    to: '  }\n\n  const int output_row',
  },
  {
    name: 'few tokens: copies to where others still read',
    file: few,
    compiled: gemm,
    from: '        sync_warp();\n        if (!next.ended(cut)) {',
    to: '        if (!next.ended(cut)) {',
  },
  {
    name: 'few tokens: rows of weights swapped',
    file: few,
    compiled: gemm,
    from: 'weights_of(stage, 0, pair)',
    to: 'weights_of(stage, 1, pair)',
  },
  {
    name: 'few tokens: half of the columns twice',
    file: few,
    compiled: gemm,
    from: 'last_rows, low_codes, high_codes',
    to: 'last_rows, low_codes, low_codes',
  },
  {
    name: 'few tokens: an odd unit at the end of a group is taken for a pair',
    file: few,
    compiled: gemm,
    from: 'const bool pair = unit + 1 < units;',
    to: 'const bool pair = unit < units;',
  },
  {
    name: 'weights without signs',
    file: arrange,
    from: 'kSigns = 0x80808080U',
    to: 'kSigns = 0',
  },
  {
    name: "few tokens: another row's scale",
    file: few,
    compiled: gemm,
    from: '* scales.y',
    to: '* scales.x',
  },
  {
    name: 'few tokens: rows beyond the matrix are written',
    file: few,
    compiled: gemm,
    from: '  if (output_row >= product.rows) return;\n',
    to: '',
  },
  {
    name: 'few tokens: tokens beyond the last are written',
    file: few,
    compiled: gemm,
    from: '    if (token >= a.all.tokens) break;\n',
    to: '',
  },
  {
    name: 'few tokens: a group beyond the last is added',
    file: few,
    compiled: gemm,
    from: 'total[tile] = first + begin + i < cut.groups ? sum : total[tile];',
    to: 'total[tile] = sum;',
  },
  {
    name: 'many tokens: waits for one stage too few',
    file: many,
    compiled: gemm,
    from: 'wait_copies<kStages - 2>();',
    to: 'wait_copies<kStages - 1>();',
  },
  {
    name: 'many tokens: no barrier for a stage',
    file: many,
    compiled: gemm,
    from: '      sync_block();\n      begin_next(',
    to: '      begin_next(',
  },
  {
    name: 'many tokens: copies into the stage that is multiplied',
    file: many,
    compiled: gemm,
    from: 'begin_next(slot == 0 ? kStages - 1 : slot - 1);',
    to: 'begin_next(slot);',
  },
  {
    name: 'many tokens: the same rows twice',
    file: many,
    compiled: gemm,
    from: '[panel][product * 16 + lane % 16]',
    to: '[panel][lane % 16]',
  },
  {
    name: 'many tokens: sums begin elsewhere',
    file: many,
    compiled: gemm,
    from: 'multiply_from(kFloatOfInteger,',
    to: 'multiply_from(0,',
  },
  {
    name: 'many tokens: panels beyond the last are read',
    file: many,
    compiled: gemm,
    from: 'panel < last ? panel : last',
    to: 'panel',
  },
  {
    name: 'many tokens: tokens beyond the last are written',
    file: product,
    compiled: gemm,
    from: '        if (!is_there(begin + tile, which)) continue;\n        Rows rows;\n',
    to: '        Rows rows;\n',
  },
  {
    name: 'many tokens: rows beyond the matrix are written',
    file: product,
    compiled: gemm,
    from: '    if (row + i < product.rows) product',
    to: '    product',
  },
  {
    name: 'wide: waits for one stage too few',
    file: wide,
    compiled: gemm,
    from: 'wait_copies<kWideStages - 3>();',
    to: 'wait_copies<kWideStages - 2>();',
  },
  {
    name: 'wide: no barrier for a stage',
    file: wide,
    compiled: gemm,
    from: '    sync_block();\n    begin_next();\n',
    to: '    begin_next();\n',
  },
  {
    name: 'wide: copies into a stage that is multiplied',
    file: wide,
    compiled: gemm,
    from: '    wait_products<1>();\n',
    to: '    static_cast<void>(number);\n',
  },
  {
    name: 'wide: sums are read while they are computed',
    file: wide,
    compiled: gemm,
    from: '    wait_products<0>();\n',
    to: '    wait_products<1>();\n',
  },
  {
    name: 'wide: the first of the units twice',
    file: wide,
    compiled: gemm,
    from: 'codes.from_row(2 * pair * kTileTokens)',
    to: 'codes.from_row(pair * kTileTokens)',
  },
  {
    name: "wide: the other warpgroup's weights",
    file: wide,
    compiled: gemm,
    from: '[panel / 2 * 2]',
    to: '[2 - panel / 2 * 2]',
  },
  {
    name: 'wide: a group goes on with the sums of the last',
    file: wide,
    compiled: gemm,
    from: '!first || pair > 0',
    to: 'first || pair > 0',
  },
  {
    name: "wide: another row's scale",
    file: wide,
    compiled: gemm,
    from: '[half];\n',
    to: '[1 - half];\n',
  },
  {
    name: 'wide: the scales of the group before',
    file: wide,
    compiled: gemm,
    from: 'place_of_group = after<Shared::kGroups>(place_of_group);',
    to: 'place_of_group = 0;',
  },
  {
    name: 'quantize: the halves of a group of 256 have scales of their own',
    file: quantize,
    compiled: quantizing,
    from: 'if (out.group == kSpan) largest[0]',
    to: 'if (out.group > kSpan) largest[0]',
  },
  {
    name: 'quantize: NaN is not seen',
    file: quantize,
    compiled: quantizing,
    from: '!finite ? float_of(0x7fc00000U) : inverse',
    to: 'inverse',
  },
  {
    name: 'layer norm: no barrier before its sums are read',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu'],
    from: '  sync_block();\n  float mean[kRows];',
    to: '  float mean[kRows];',
  },
  {
    name: 'layer norm: no barrier before the sums of squares are read',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu'],
    from: '  sync_block();\n  for (std::size_t row = 0; row < kRows; ++row) {\n    found',
    to: '  for (std::size_t row = 0; row < kRows; ++row) {\n    found',
  },
  {
    name: 'layer norm: lanes beyond 1024 channels are left out',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu'],
    from: 'i < size; i += kNormLanes)',
    to: 'i < size; i += size)',
  },
  {
    name: 'layer norm of two rows: no barrier before the sums are read',
    file: norm,
    compiled: [shift],
    from: '  sync_block();  // the sums of x are there',
    to: '',
  },
  {
    name: 'layer norm of two rows: no barrier before the sums of squares are read',
    file: norm,
    compiled: [shift],
    from: '  sync_block();  // the sums of squares are there',
    to: '',
  },
  {
    name: 'layer norm of two rows: lanes that are 16 apart are not added',
    file: norm,
    compiled: [shift],
    from: 'int mask = 4; mask > 0',
    to: 'int mask = 2; mask > 0',
  },
  {
    name: 'layer norm of two rows: a warp keeps numbers of one of them for both',
    file: norm,
    compiled: [shift],
    from: 'const bool kept = warps >= eighths;',
    to: 'const bool kept = warps >= 8;',
  },
  {
    name: 'token shift: no barrier before the states are replaced',
    file: shift,
    from: '  sync_block();  // the state has been read',
    to: '',
  },
  {
    name: 'token shift: each token takes the state for the one before',
    file: shift,
    from: 'starts = token == segment.first',
    to: 'starts = token >= segment.first',
  },
  {
    name: 'token shift: the state becomes the norm of the first token',
    file: shift,
    from: 'last = segment.first + segment.tokens - 1;',
    to: 'last = segment.first;',
  },
  {
    name: 'token shift: a warp takes its first mix again',
    file: shift,
    from: 'mix = load_mix(a, index + arguments.shares, span);',
    to: 'mix = load_mix(a, index, span);',
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
  {
    name: 'gemm: reads weights beyond the last columns',
    file: narrow,
    from: 'if (!whole && begin + i >= groups) continue;',
    to: '',
  },
  {
    name: "gemm: reads numbers beyond a token's",
    file: narrow,
    from: 'const bool in_row = whole || column < product.columns;',
    to: 'const bool in_row = whole || group < groups;',
  },
  {
    name: 'gemm: computes rows that are not there',
    file: narrow,
    from: 'const int computed_row = row < product.rows ? row : row_of_warp;',
    to: 'const int computed_row = row;',
  },
  {
    name: "gemm: lanes keep each other's sums",
    file: narrow,
    from: 'const float kept = upper ? sums[i + kOther] : sums[i];',
    to: 'const float kept = upper ? sums[i] : sums[i + kOther];',
  },
  {
    name: 'wkv4: a NaN stays in the exponent',
    file: wkv4,
    from: 'pp = larger_number(pp + w, shared.k[t][lane]);',
    to: 'pp = larger_number(shared.k[t][lane], pp + w);',
  },
  {
    name: 'wkv4: adds the decay before the difference',
    file: wkv4,
    from: 'const float change = (own_pp - now.k) + w;',
    to: 'const float change = (own_pp + w) - now.k;',
  },
  {
    name: 'wkv5: the decays of the first token for all',
    file: wkvShared,
    compiled: [wkv, sequence],
    from: 'begin_rows<kThreads>(chunk.forget, a.forget + at, stride',
    to: 'begin_rows<kThreads>(chunk.forget, a.forget + at % stride, stride',
  },
  {
    name: 'wkv7: no barrier before a chunk is read',
    file: wkv7,
    from: '    sync_block();  // the chunk is there',
    to: '    //',
  },
  {
    name: 'wkv7: does not wait for a chunk',
    file: wkv7,
    from: '    wait_copies<0>();',
    to: '    wait_copies<1>();',
  },
  {
    name: "wkv7: adds the wrong row's sum",
    file: wkv7,
    from: 'sums[i][0] += shuffle_xor(sums[i][1], 4);',
    to: 'sums[i][0] += shuffle_xor(sums[i][2], 4);',
  },
  {
    name: 'wkv7: no barrier before vectors are replaced',
    file: wkv7,
    from: '    sync_block();  // from here on the vectors',
    to: '    //',
  },
  {
    name: 'wkv7: no zeros beyond a head',
    file: keys,
    from: 'for (int i = lane_of_sum(); i < padded(size)',
    to: 'for (int i = lane_of_sum(); i < size',
  },
  {
    name: 'gated norm: the bonus in two roundings',
    file: gated,
    from: 'if constexpr (kBonus) value = fused(bonus, v.of[i], value);',
    to: 'if constexpr (kBonus) value += bonus * v.of[i];',
  },
  {
    name: 'token shift: mixes are always the share of this token',
    file: shift,
    from: 'return share_of_before ? mixed',
    to: 'return share_of_before && share > 2 ? mixed',
  },
  {
    name: 'token mix: a warp leaves out groups',
    file: mix,
    from: 'group += spans',
    to: 'group += arguments.shares',
  },
];

const folder = path.join(root, 'out/mutants');

function shell(command, cwd, timeout) {
  return spawnSync('sh', ['-c', command], { cwd, encoding: 'utf8', timeout, killSignal: 'SIGKILL' });
}

function must(command, cwd) {
  const { status, stdout, stderr } = shell(command, cwd);
  if (status !== 0) throw new Error(`${command}\n${stdout}${stderr}`);
  return stdout;
}

/** The file with the bug in it. */
function mutated({ name, file, from, to }) {
  const text = fs.readFileSync(path.join(root, 'native', file), 'utf8');
  if (text.split(from).length !== 2) throw new Error(`${name}: ${file} does not have this once:\n${from}`);
  return text.replace(from, () => to);
}

/** Writes it where the compiler looks first. */
function plant(mutant) {
  const { file } = mutant;
  const copy = path.join(folder, 'native', file);
  fs.mkdirSync(path.dirname(copy), { recursive: true });
  fs.writeFileSync(copy, mutated(mutant));
}

/** As ninja or make has it. */
function linkCommand(build, target) {
  const ofMake = path.join(build, `CMakeFiles/${target}.dir/link.txt`);
  if (fs.existsSync(ofMake)) return fs.readFileSync(ofMake, 'utf8').trim();
  return must(`ninja -t commands ${target}`, build).trim().split('\n').at(-1);
}

/** Builds a test program with these sources compiled anew. The build's own commands are changed a little. */
function link({ build, target, objects, sources }) {
  const commands = JSON.parse(fs.readFileSync(path.join(build, 'compile_commands.json'), 'utf8'));
  let command = linkCommand(build, target);
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
      300_000,
    );
    if (status === null) throw new Error(`${mutant.name}: the tests ran out of time`);
    return status !== 0;
  });
}

function main(names) {
  if (names.includes('--help')) {
    console.log(help);
    return;
  }
  mutants.forEach(mutated);
  buildCudaSimulated();
  const build = path.dirname(cudaPrograms().values.tests);
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
