import type { ReferenceTensor } from '../reference/common';
import type { StoredType } from '../../lib/formats/tensor-directory';
import { RandomTensors, type RandomTensor } from './random-tensors';

export { randomNumbers, randomTokens, type RandomTensor } from './random-tensors';

/** Versions of RWKV by what their tensors are called; 5.1 has one decay a head, 5.2 one a channel. */
export const versions = ['4', '5.0', '5.1', '5.2', '6', '7'] as const;
export type Version = (typeof versions)[number];

export interface RandomModelShape {
  /** 5.2 by default. */
  version?: Version;
  layers: number;
  embedding: number;
  headSize: number;
  /** As many as the embedding has room for, by default; versions 4 and 7 have no others. */
  heads?: number;
  feedForward: number;
  vocabulary: number;
  /** `mixed`: matrices in bf16 and vectors in f32, as some published files have them. */
  type: StoredType | 'mixed';
  seed: number;
  /** Inner widths of low-rank products: in version 6 `mix` and `decay`, in version 7 the others. */
  ranks?: Partial<Ranks>;
  /** Version 7: whether layer 0 has v0, v1 and v2, which nothing reads. */
  unusedValues?: boolean;
  /** Version 5.0: the bonus as `time_first`, its logarithm, instead of `time_faaaa`. */
  timeFirst?: boolean;
  /** Versions 5 to 7: a state to begin with. */
  timeState?: boolean;
}

type Ranks = Record<'mix' | 'decay' | 'w' | 'a' | 'v' | 'g', number>;

const usualRanks: Ranks = { mix: 8, decay: 12, w: 12, a: 12, v: 8, g: 16 };

/**
 * The tensors of an RWKV model that nobody trained, with magnitudes that exercise every part of it: decays from
 * almost never to at once, bonus and biases that count, activations of order 1 and logits of about +-5.
 */
export function randomModel(model: RandomModelShape): RandomTensor[] {
  const { layers, embedding: D, vocabulary: V } = model;
  const made = new RandomTensors(model.type, model.seed);
  made.matrix('emb.weight', V, D);
  made.norm('blocks.0.ln0', D);
  for (let layer = 0; layer < layers; layer++) {
    const block = `blocks.${layer}`;
    made.norm(`${block}.ln1`, D);
    made.norm(`${block}.ln2`, D);
    timeMixes[model.version ?? '5.2'](made, `${block}.att`, model, layer);
    channelMix(made, `${block}.ffn`, model);
  }
  made.norm('ln_out', D);
  made.matrix('head.weight', V, D, 3);
  return made.tensors;
}

type TimeMix = (made: RandomTensors, name: string, model: RandomModelShape, layer: number) => void;

const timeMixes: Readonly<Record<Version, TimeMix>> = {
  '4': timeMix4,
  '5.0': timeMix5,
  '5.1': timeMix5,
  '5.2': timeMix5,
  '6': timeMix6,
  '7': timeMix7,
};

function timeMix4(made: RandomTensors, name: string, { embedding: D }: RandomModelShape): void {
  for (const mix of ['k', 'v', 'r']) made.vector(`${name}.time_mix_${mix}`, [1, 1, D], 0, 1);
  made.vector(`${name}.time_decay`, [D], -8, 3);
  made.vector(`${name}.time_first`, [D], -1, 1);
  for (const matrix of ['receptance', 'key', 'value', 'output'])
    made.matrix(`${name}.${matrix}.weight`, D, D);
}

function timeMix5(made: RandomTensors, name: string, model: RandomModelShape): void {
  const { version = '5.2', embedding: D, headSize: N, heads: H = D / N } = model;
  const gated = version !== '5.0';
  for (const mix of gated ? ['k', 'v', 'r', 'g'] : ['k', 'v', 'r']) {
    made.vector(`${name}.time_mix_${mix}`, [1, 1, D], 0, 1);
  }
  const perHead = version === '5.2' ? [H, N] : [H];
  made.vector(`${name}.time_decay`, perHead, -8, 1);
  made.vector(`${name}.${model.timeFirst === true ? 'time_first' : 'time_faaaa'}`, perHead, -1, 1);
  for (const matrix of gated ? ['receptance', 'key', 'value', 'gate'] : ['receptance', 'key', 'value']) {
    made.matrix(`${name}.${matrix}.weight`, H * N, D);
  }
  made.matrix(`${name}.output.weight`, D, H * N);
  made.norm(`${name}.ln_x`, H * N);
  timeState(made, name, model);
}

function timeMix6(made: RandomTensors, name: string, model: RandomModelShape): void {
  const { embedding: D, headSize: N, heads: H = D / N } = model;
  const { mix, decay } = { ...usualRanks, ...model.ranks };
  for (const letter of ['x', 'w', 'k', 'v', 'r', 'g']) {
    made.vector(`${name}.time_maa_${letter}`, [1, 1, D], 0, 1);
  }
  made.factor(`${name}.time_maa_w1`, [D, 5 * mix]);
  made.factor(`${name}.time_maa_w2`, [5, mix, D], 0.5);
  made.vector(`${name}.time_decay`, [1, 1, H * N], -8, 1);
  made.factor(`${name}.time_decay_w1`, [D, decay]);
  made.factor(`${name}.time_decay_w2`, [decay, H * N], 1.5);
  made.vector(`${name}.time_faaaa`, [H, N], -1, 1);
  for (const matrix of ['receptance', 'key', 'value', 'gate'])
    made.matrix(`${name}.${matrix}.weight`, H * N, D);
  made.matrix(`${name}.output.weight`, D, H * N);
  made.norm(`${name}.ln_x`, H * N);
  timeState(made, name, model);
}

function timeMix7(made: RandomTensors, name: string, model: RandomModelShape, layer: number): void {
  const { embedding: D, headSize: N, unusedValues = true } = model;
  const ranks = { ...usualRanks, ...model.ranks };
  for (const letter of ['r', 'w', 'k', 'v', 'a', 'g']) made.vector(`${name}.x_${letter}`, [1, 1, D], 0, 1);
  // The decay is e^(-0.61 sigmoid(w0 + ...)): from almost never to not much more than half at once.
  made.vector(`${name}.w0`, [1, 1, D], -8, 4);
  made.vector(`${name}.a0`, [1, 1, D], -2, 2);
  if (layer > 0 || unusedValues) made.vector(`${name}.v0`, [1, 1, D], -2, 2);
  for (const letter of layer > 0 || unusedValues
    ? (['w', 'a', 'v', 'g'] as const)
    : (['w', 'a', 'g'] as const)) {
    made.factor(`${name}.${letter}1`, [D, ranks[letter]]);
    made.factor(`${name}.${letter}2`, [ranks[letter], D], 1.5);
  }
  made.vector(`${name}.k_k`, [1, 1, D], 0.5, 1.5);
  made.vector(`${name}.k_a`, [1, 1, D], 0, 1.5);
  made.vector(`${name}.r_k`, [D / N, N], -0.5, 0.5);
  for (const matrix of ['receptance', 'key', 'value', 'output'])
    made.matrix(`${name}.${matrix}.weight`, D, D);
  made.norm(`${name}.ln_x`, D);
  timeState(made, name, model);
}

function timeState(made: RandomTensors, name: string, model: RandomModelShape): void {
  const { embedding: D, headSize: N, heads: H = D / N } = model;
  if (model.timeState === true) made.vector(`${name}.time_state`, [H, N, N], -1, 1);
}

function channelMix(made: RandomTensors, name: string, model: RandomModelShape): void {
  const { version = '5.2', embedding: D, feedForward: F } = model;
  if (version === '7') {
    made.vector(`${name}.x_k`, [1, 1, D], 0, 1);
  } else {
    for (const mix of ['k', 'r']) {
      made.vector(`${name}.time_${version === '6' ? 'maa' : 'mix'}_${mix}`, [1, 1, D], 0, 1);
    }
  }
  made.matrix(`${name}.key.weight`, F, D);
  if (version !== '7') made.matrix(`${name}.receptance.weight`, D, D);
  made.matrix(`${name}.value.weight`, D, F);
}

/** The same tensors for the oracle. */
export function referenceTensors(tensors: readonly RandomTensor[]): Map<string, ReferenceTensor> {
  return new Map(tensors.map(({ name, shape, data }) => [name, { shape, data: Float64Array.from(data) }]));
}
