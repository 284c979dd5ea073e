'use strict';

const weights = 'kernels/gemm_int4/cuda_weights.cuh';
const arrange = 'kernels/gemm_int4/cuda_arrange.cu';
const gemm = ['kernels/gemm_int4/cuda.cu'];

/** Bugs in products of weights of 4 bits. */
module.exports = [
  {
    name: 'int4: codes without signs',
    file: arrange,
    from: ' ^ 0x88888888U',
    to: '',
  },
  {
    name: 'int4: codes of another row',
    file: arrange,
    from: 'codes_of(codes, row + 2, lane % 4)',
    to: 'codes_of(codes, row + 1, lane % 4)',
  },
  {
    name: 'int4: codes are replaced while others read them',
    file: arrange,
    from: '  sync_warp();\n',
    to: '',
  },
  {
    name: 'int4: multipliers of the second unit for the first',
    file: arrange,
    from: 'closed(both & kHalves) |',
    to: 'closed(both >> 4U & kHalves) |',
  },
  {
    name: 'int4: multipliers without signs',
    file: weights,
    compiled: gemm,
    from: 'indices ^ 0x8888U',
    to: 'indices & 0U',
  },
  {
    name: "int4: another row's multiplier",
    file: weights,
    compiled: gemm,
    from: 'multipliers.of[2 * product + i / 2]',
    to: 'multipliers.of[2 * product]',
  },
  {
    name: 'int4: sums are 16 times too large',
    file: weights,
    compiled: gemm,
    from: ' - (4U << 23U)',
    to: '',
  },
  {
    name: 'int4, few tokens: a group begins with the first unit of a pair',
    file: weights,
    compiled: gemm,
    from: '(group * cut.in_group + unit) % 2;',
    to: '0 * (group + unit);',
  },
  {
    name: 'int4, few tokens: multipliers of one pair of units alone',
    file: weights,
    compiled: gemm,
    from: '(first + units - 1) / 2 - first / 2 + 1;',
    to: '1;',
  },
  {
    name: 'int4, few tokens: a unit that is not there is multiplied',
    file: weights,
    compiled: gemm,
    from: '(pair ? 2 : 1)',
    to: '2',
  },
  {
    name: 'int4, many tokens: the multipliers of the first stage for all',
    file: weights,
    compiled: gemm,
    from: '      others += step;\n    }\n    codes.begin(',
    to: '    }\n    codes.begin(',
  },
  {
    name: "int4, many tokens: another tile's codes",
    file: weights,
    compiled: gemm,
    from: 'codes[tile / 2].x : codes[tile / 2].z',
    to: 'codes[tile / 2].x : codes[tile / 2].x',
  },
  {
    name: 'int4, many tokens: a group goes on with the sums of the last',
    file: weights,
    compiled: gemm,
    from: 'if constexpr (kFirst)',
    to: 'if constexpr (kFirst && kTiles == 0)',
  },
];
