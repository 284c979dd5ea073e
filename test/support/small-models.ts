import type { StoredType } from '../../lib/formats/tensor-directory';
import type { WritableTensor } from './pth-writer';
import type { Version } from './random-model';

// All different, so that nothing fits where it does not belong.
const [L, D, H, N, F, V, R] = [2, 6, 3, 2, 10, 7, 4];

/** What each version's time mixing has beyond four square matrices: shapes, as BlinkDL publishes them. */
const attention: Readonly<Record<Version, Readonly<Record<string, readonly number[]>>>> = {
  '4': {
    ...{ time_decay: [D], time_first: [D] },
    ...{ time_mix_k: [1, 1, D], time_mix_v: [1, 1, D], time_mix_r: [1, 1, D] },
  },
  '5.0': {
    ...{ time_decay: [H], time_first: [H] },
    ...{ time_mix_k: [1, 1, D], time_mix_v: [1, 1, D], time_mix_r: [1, 1, D] },
  },
  '5.1': {
    ...{ time_decay: [H], time_faaaa: [H], 'gate.weight': [D, D], time_mix_g: [1, 1, D] },
    ...{ time_mix_k: [1, 1, D], time_mix_v: [1, 1, D], time_mix_r: [1, 1, D] },
  },
  '5.2': {
    ...{ time_decay: [H, N], time_faaaa: [H, N], 'gate.weight': [D, D], time_mix_g: [1, 1, D] },
    ...{ time_mix_k: [1, 1, D], time_mix_v: [1, 1, D], time_mix_r: [1, 1, D] },
  },
  '6': {
    ...{ time_maa_x: [1, 1, D], time_maa_w: [1, 1, D], time_maa_k: [1, 1, D], time_maa_v: [1, 1, D] },
    ...{ time_maa_r: [1, 1, D], time_maa_g: [1, 1, D], time_maa_w1: [D, 5 * R], time_maa_w2: [5, R, D] },
    ...{ time_decay: [1, 1, D], time_decay_w1: [D, 2 * R], time_decay_w2: [2 * R, D], time_faaaa: [H, N] },
    ...{ 'gate.weight': [D, D] },
  },
  '7': {
    ...{ x_r: [1, 1, D], x_w: [1, 1, D], x_k: [1, 1, D], x_v: [1, 1, D], x_a: [1, 1, D], x_g: [1, 1, D] },
    ...{ w0: [1, 1, D], w1: [D, R], w2: [R, D], a0: [1, 1, D], a1: [D, R], a2: [R, D] },
    ...{ v0: [1, 1, D], v1: [D, 3], v2: [3, D], g1: [D, 2 * R], g2: [2 * R, D] },
    ...{ k_k: [1, 1, D], k_a: [1, 1, D], r_k: [H, N] },
  },
};

const channelMixing: Readonly<Record<Version, readonly string[]>> = {
  '4': ['time_mix_k', 'time_mix_r'],
  '5.0': ['time_mix_k', 'time_mix_r'],
  '5.1': ['time_mix_k', 'time_mix_r'],
  '5.2': ['time_mix_k', 'time_mix_r'],
  '6': ['time_maa_k', 'time_maa_r'],
  '7': ['x_k'],
};

/**
 * The tensors of a model of two layers, too small for anything but tests of files, under BlinkDL's names. Their elements
 * are 1, 2, 3 and so on through all of them, up to less than 2048, which every type but bf16 holds exactly.
 */
export function smallModelOf(version: Version, type: StoredType = 'f32'): WritableTensor[] {
  const tensors: WritableTensor[] = [];
  let last = 0;
  const add = (name: string, shape: readonly number[]): void => {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors.push({ name, type, shape, data: Float32Array.from({ length: count }, () => ++last) });
  };
  const norm = (name: string): void => {
    add(`${name}.weight`, [D]);
    add(`${name}.bias`, [D]);
  };
  add('emb.weight', [V, D]);
  norm('blocks.0.ln0');
  for (let layer = 0; layer < L; layer++) {
    const block = `blocks.${layer}`;
    norm(`${block}.ln1`);
    norm(`${block}.ln2`);
    for (const [name, shape] of Object.entries(attention[version])) add(`${block}.att.${name}`, shape);
    for (const name of ['receptance', 'key', 'value', 'output']) add(`${block}.att.${name}.weight`, [D, D]);
    if (version !== '4') norm(`${block}.att.ln_x`);
    for (const name of channelMixing[version]) add(`${block}.ffn.${name}`, [1, 1, D]);
    add(`${block}.ffn.key.weight`, [F, D]);
    if (version !== '7') add(`${block}.ffn.receptance.weight`, [D, D]);
    add(`${block}.ffn.value.weight`, [D, F]);
  }
  norm('ln_out');
  add('head.weight', [V, D]);
  return tensors;
}

/** The tensor with the last two of its dimensions swapped, and its elements with them. */
export function transposed(tensor: WritableTensor): WritableTensor {
  const [rows = 1, columns = 1] = tensor.shape.slice(-2);
  const data = Float32Array.from(tensor.data, (_, index) => {
    const matrix = index - (index % (rows * columns));
    const [column, row] = [Math.floor((index - matrix) / rows), (index - matrix) % rows];
    return tensor.data[matrix + row * columns + column] ?? NaN;
  });
  return { ...tensor, shape: [...tensor.shape.slice(0, -2), columns, rows], data };
}
