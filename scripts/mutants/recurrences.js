'use strict';

const wkv = 'kernels/wkv5/cuda.cu';
const sequence = 'kernels/wkv5/cuda_sequence.cu';
const wkvShared = 'kernels/wkv5/cuda.cuh';
const wkv4 = 'kernels/wkv4/cuda.cu';
const wkv7 = 'kernels/wkv7/cuda.cu';
const keys = 'kernels/wkv7/cuda_keys.cu';
const packState = 'kernels/pack_state/cuda.cu';

/** Bugs in the recurrences, and in packing their states. */
module.exports = [
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
    name: 'packing: no barrier before the largest numbers of other warps are read',
    file: packState,
    from: '  sync_block();\n  for (const std::uint32_t of_warp',
    to: '  for (const std::uint32_t of_warp',
  },
  {
    name: 'packing: scales are half of what they have to be',
    file: packState,
    from: 'exponent - 126 - 15',
    to: 'exponent - 126 - 16',
  },
  {
    name: 'packing: a largest number that is rounded up has the scale of one that is not',
    file: packState,
    from: '(largest + kHalfPlace)',
    to: '(largest + kHalfPlace / 2)',
  },
  {
    name: 'packing: NaN is the largest number',
    file: packState,
    from: 'magnitude <= kInfinity',
    to: 'magnitude <= 2 * kInfinity',
  },
  {
    name: 'packing: a group begins before its scale',
    file: packState,
    from: 'packed[2 + i] = to_f16',
    to: 'packed[1 + i] = to_f16',
  },
  {
    name: 'packing: all layers have the numbers of the first',
    file: packState,
    from: 'group.numbers += block_y() * numbers_of_layer;',
    to: '',
  },
];
