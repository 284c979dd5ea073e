'use strict';

const gated = 'kernels/gated_norm/cuda.cu';
const norm = 'kernels/layer_norm/cuda.cuh';
const quantize = 'kernels/quantize/cuda.cuh';
const sampling = 'kernels/sampling/cuda.cu';
const samplingRow = 'kernels/sampling/cuda_row.cuh';
const shift = 'kernels/token_shift/cuda.cu';
const shiftBoth = 'kernels/token_shift/cuda.cuh';
const mix = 'kernels/token_shift/cuda_mix.cu';
const runs = 'kernels/token_shift/cuda_runs.cu';
// All that have a copy of the same functions, of which the linker takes one.
const quantizing = [
  ...['gated_norm', 'layer_norm', 'quantize', 'token_shift'].map((name) => `kernels/${name}/cuda.cu`),
  mix,
  runs,
];

/** Bugs in what works on rows of tokens: norms, token shifts, quantization, sampling. */
module.exports = [
  {
    name: 'gated norm: the halves of a head are not added',
    file: 'kernels/gated_norm/cuda.cuh',
    compiled: [gated],
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
    name: 'quantize: the halves of a group of 256 have scales of their own',
    file: quantize,
    compiled: quantizing,
    from: 'if (out.group == kSpan) {',
    to: 'if (out.group > kSpan) {',
  },
  {
    name: 'quantize: NaN is not seen',
    file: quantize,
    compiled: quantizing,
    from: '!finite ? float_of(0x7fc00000U) : inverse',
    to: 'inverse',
  },
  {
    name: 'quantize: scales are one group further',
    file: quantize,
    compiled: quantizing,
    from: 'column >> log2_of(out.group), coding)',
    to: '(column + out.group) >> log2_of(out.group), coding)',
  },
  {
    name: 'quantize: codes of what is not finite stay',
    file: quantize,
    compiled: quantizing,
    from: 'return coding.finite ? low_bytes(bits[0], bits[1], bits[2], bits[3]) : 0;',
    to: 'return low_bytes(bits[0], bits[1], bits[2], bits[3]);',
  },
  {
    name: 'layer norm: no barrier before its sums are read',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu'],
    from: '  sync_block();  // the sums of the row are there',
    to: '',
  },
  {
    name: 'layer norm: no barrier before the sums of squares are read',
    file: norm,
    compiled: ['kernels/layer_norm/cuda.cu'],
    from: '  sync_block();  // the sums of its squares are there',
    to: '',
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
    name: 'token shift of prompts: a run begins with nothing before it',
    file: runs,
    from: '(starts & 1U) == 0 ? norm_of',
    to: '(starts & 2U) != 0 ? norm_of',
  },
  {
    name: 'token shift of prompts: segments begin one token later in a run',
    file: runs,
    from: '(starts >> (token - first) & 1U)',
    to: '(starts << 1U >> (token - first) & 1U)',
  },
  {
    name: 'token shift of prompts: the state becomes the norm of the first token',
    file: runs,
    from: 'last == token ? now : norm_of(last, load_row(last))',
    to: 'last >= token ? now : norm_of(last, load_row(last))',
  },
  {
    name: 'token shift of prompts: the token before stays the first one',
    file: runs,
    from: '    before = now;\n',
    to: '',
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
    name: 'gated norm: the bonus in two roundings',
    file: gated,
    from: 'if constexpr (kBonus) value = fused(bonus, v.of[i], value);',
    to: 'if constexpr (kBonus) value += bonus * v.of[i];',
  },
  {
    name: 'token shift: mixes are always the share of this token',
    file: shiftBoth,
    compiled: [shift, runs],
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
