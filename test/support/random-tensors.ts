import type { StoredType } from '../../lib/formats/tensor-directory';

/** Random numbers that are always the same, and tensors made of them. */

/** A tensor as the writers of test files take it; every element is exactly representable in `type`. */
export interface RandomTensor {
  name: string;
  type: StoredType;
  shape: number[];
  data: Float32Array;
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

/** Collects the tensors of a model. */
export class RandomTensors {
  readonly tensors: RandomTensor[] = [];
  readonly #random: () => number;

  /** @param type `mixed`: matrices in bf16 and vectors in f32 */
  constructor(
    readonly type: StoredType | 'mixed',
    seed: number,
  ) {
    this.#random = randomNumbers(seed);
  }

  /** Elements between `low` and `high`. */
  vector(name: string, shape: number[], low: number, high: number): void {
    this.#add(name, this.type === 'mixed' ? 'f32' : this.type, shape, low, high);
  }

  /** Rows whose product with a vector of unit variance has the variance gain^2. */
  matrix(name: string, rows: number, columns: number, gain = 1): void {
    this.#products(name, [rows, columns], columns, gain);
  }

  /** The same for a vector in front of the matrix: [rows, columns], or several of them, [count, rows, columns]. */
  factor(name: string, shape: number[], gain = 1): void {
    this.#products(name, shape, shape.at(-2) ?? 0, gain);
  }

  /** Weight and bias of a layer norm. */
  norm(name: string, size: number): void {
    this.vector(`${name}.weight`, [size], 0.5, 1.5);
    this.vector(`${name}.bias`, [size], -0.5, 0.5);
  }

  #products(name: string, shape: number[], terms: number, gain: number): void {
    const limit = gain * sqrt(3 / terms);
    this.#add(name, this.type === 'mixed' ? 'bf16' : this.type, shape, -limit, limit);
  }

  #add(name: string, type: StoredType, shape: number[], low: number, high: number): void {
    const random = this.#random;
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) {
      data[i] = representable(type, low + (high - low) * random());
    }
    this.tensors.push({ name, type, shape, data });
  }
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
