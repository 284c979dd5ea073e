'use strict';

const kernel = 'kernels/rwkv5_layers/cuda.cu';
const products = 'kernels/rwkv5_layers/cuda_products.cuh';
const rings = 'kernels/rwkv5_layers/cuda_rings.cuh';
const compiled = [kernel];

module.exports = [
  {
    name: 'all layers: copies are waited for one stage too late',
    file: rings,
    compiled,
    from: 'wait_copies<kLayersDepth - 1>();',
    to: 'wait_copies<kLayersDepth>();',
  },
  {
    name: "all layers: the copy engine's copies are not waited for",
    file: rings,
    compiled,
    from: 'wait_barrier(shared_.there[slot()], turn_ >= kLayersDepth ? 1 : 0);',
    to: '',
  },
  {
    name: 'all layers: the second time through the ring waits for the first',
    file: rings,
    compiled,
    from: 'turn_ >= kLayersDepth ? 1 : 0',
    to: '0',
  },
  {
    name: "all layers: a group's scales are not copied",
    file: rings,
    compiled,
    from: '(with_scales ? kScalesBytes : 0)',
    to: '0',
  },
  {
    name: 'all layers: fewer bytes are expected than come',
    file: rings,
    compiled,
    from: 'arrive_expecting(shared_.there[slot], bytes);',
    to: 'arrive_expecting(shared_.there[slot], bytes - 16);',
  },
  {
    name: "all layers: each lane copies for itself what the warp's first one does",
    file: rings,
    compiled,
    from: '    if (thread_index() % kWarp != 0) return;\n    const int bytes',
    to: '    const int bytes',
  },
  {
    name: "all layers: the next phase's codes are used before they are there",
    file: products,
    compiled,
    from: 'sync_block();  // the inputs are there\n',
    to: '\n',
  },
  {
    name: 'all layers: sums are added before they are there',
    file: products,
    compiled,
    from: 'sync_block();  // the panel',
    to: '// the panel',
  },
  {
    name: "all layers: panels' sums are not by turns",
    file: products,
    compiled,
    from: 'shared.partial[turn % 2]',
    to: 'shared.partial[0]',
  },
  {
    name: "all layers: another row's scale",
    file: rings,
    compiled,
    from: 'lane % 8 * 4 + lane / 8;',
    to: 'lane;',
  },
  {
    name: 'all layers: weights run ahead in another order than they are multiplied',
    file: products,
    compiled,
    from: '        panel_ = block_x();\n',
    to: '',
  },
  {
    name: 'all layers: the panel of another matrix',
    file: products,
    compiled,
    from: '(panel_ - a_.first_panel[matrix])',
    to: 'panel_',
  },
  {
    name: 'all layers: a barrier of the grid is missing before products',
    file: kernel,
    compiled,
    from: 'grid.sync();  // their codes are there\n',
    to: '\n',
  },
  {
    name: 'all layers: a barrier of the grid is missing before the recurrence',
    file: kernel,
    compiled,
    from: 'grid.wait();  // r, k, v and g are there\n',
    to: '\n',
  },
  {
    name: 'all layers: heads are used before they are there',
    file: kernel,
    compiled,
    from: 'sync_block();  // the heads are there\n',
    to: '\n',
  },
  {
    name: "all layers: a token's sums are used before they are there",
    file: kernel,
    compiled,
    from: 'sync_block();  // the sums are there\n',
    to: '\n',
  },
  {
    name: 'all layers: the state keeps the norm of the token before',
    file: kernel,
    compiled,
    from: 'store_part(state_, span, columns, now);',
    to: 'store_part(state_, span, columns, before_);',
  },
];
