import type { ReferenceTensor } from '../reference/rwkv5';

export type StoredType = 'f32' | 'f16' | 'bf16';

/** A tensor as the writers of test files take it; every element is exactly representable in `type`. */
export interface RandomTensor {
  name: string;
  type: StoredType;
  shape: number[];
  data: Float32Array;
}

export interface RandomModelShape {
  layers: number;
  embedding: number;
  headSize: number;
  /** As many as the embedding has room for, by default. */
  heads?: number;
  feedForward: number;
  vocabulary: number;
  /** `mixed`: matrices in bf16 and vectors in f32, as some published files have them. */
  type: StoredType | 'mixed';
  seed: number;
}

// jest looks up a global anew each time, slowly; a vocabulary of 65,536 has 8 million elements
const { abs, floor, fround, log2, max, round, sqrt } = Math;

/** Uniform numbers in [0, 1), always the same ones for a seed: a 32-bit xorshift (Marsaglia 2003). */
export function randomNumbers(seed: number): () => number {
  let state = (seed + 1) * 0x9e3779b1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 8; i++) {
    next(); // small seeds begin alike
  }
  return next;
}

/** Token ids below `vocabulary`. */
export function randomTokens(count: number, vocabulary: number, seed: number): Uint32Array {
  const random = randomNumbers(seed);
  return Uint32Array.from({ length: count }, () => floor(random() * vocabulary));
}

/**
 * The tensors of an RWKV 5.2 model that nobody trained, with magnitudes that exercise every part of it: decays
 * from almost never to at once, bonus and biases that count, activations of order 1 and logits of about +-5.
 */
export function randomModel(model: RandomModelShape): RandomTensor[] {
  const { layers, embedding: D, headSize: N, heads: H = D / N, feedForward: F, vocabulary: V, seed } = model;
  const random = randomNumbers(seed);
  const tensors: RandomTensor[] = [];

  const tensor = (name: string, type: StoredType, shape: number[], low: number, high: number): void => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) {
      data[i] = representable(type, low + (high - low) * random());
    }
    tensors.push({ name, type, shape, data });
  };
  const vector = (name: string, shape: number[], low: number, high: number): void => {
    tensor(name, model.type === 'mixed' ? 'f32' : model.type, shape, low, high);
  };
  /** Rows whose product with a vector of unit variance has the variance gain^2. */
  const matrix = (name: string, rows: number, columns: number, gain = 1): void => {
    const limit = gain * sqrt(3 / columns);
    tensor(name, model.type === 'mixed' ? 'bf16' : model.type, [rows, columns], -limit, limit);
  };
  const norm = (name: string, size = D): void => {
    vector(`${name}.weight`, [size], 0.5, 1.5);
    vector(`${name}.bias`, [size], -0.5, 0.5);
  };

  matrix('emb.weight', V, D);
  norm('blocks.0.ln0');
  for (let layer = 0; layer < layers; layer++) {
    const block = `blocks.${layer}`;
    norm(`${block}.ln1`);
    norm(`${block}.ln2`);
    for (const mix of ['k', 'v', 'r', 'g']) {
      vector(`${block}.att.time_mix_${mix}`, [1, 1, D], 0, 1);
    }
    vector(`${block}.att.time_decay`, [H, N], -8, 1);
    vector(`${block}.att.time_faaaa`, [H, N], -1, 1);
    for (const name of ['receptance', 'key', 'value', 'gate']) {
      matrix(`${block}.att.${name}.weight`, H * N, D);
    }
    matrix(`${block}.att.output.weight`, D, H * N);
    norm(`${block}.att.ln_x`, H * N);
    for (const mix of ['k', 'r']) {
      vector(`${block}.ffn.time_mix_${mix}`, [1, 1, D], 0, 1);
    }
    matrix(`${block}.ffn.key.weight`, F, D);
    matrix(`${block}.ffn.receptance.weight`, D, D);
    matrix(`${block}.ffn.value.weight`, D, F);
  }
  norm('ln_out');
  matrix('head.weight', V, D, 3);
  return tensors;
}

/** The same tensors for the oracle. */
export function referenceTensors(tensors: readonly RandomTensor[]): Map<string, ReferenceTensor> {
  return new Map(tensors.map(({ name, shape, data }) => [name, { shape, data: Float64Array.from(data) }]));
}

/** A value of the type close to `value`: as many leading bits as the type has, and no finer than its finest. */
function representable(type: StoredType, value: number): number {
  if (type === 'f32' || value === 0) {
    return fround(value);
  }
  const { bits, minimumExponent } = {
    f16: { bits: 11, minimumExponent: -14 },
    bf16: { bits: 8, minimumExponent: -126 },
  }[type];
  const step = 2 ** (max(floor(log2(abs(value))), minimumExponent) - bits + 1);
  return round(value / step) * step;
}
