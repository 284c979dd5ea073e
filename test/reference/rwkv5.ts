/**
 * RWKV 5.2 ("Eagle", arXiv 2404.05892) in float64, one token at a time: the project's own oracle.
 *
 * It is written to be compared with the equations by eye, shares no code with the package, and is as slow as it
 * looks. Shapes in comments: D embedding, H heads, N head size (H * N is D in all published models), F feed-forward
 * width, V vocabulary.
 */

/** One weight: dimensions, outermost first, and the elements in that order. */
export interface ReferenceTensor {
  shape: readonly number[];
  data: Float64Array;
}

/** What a session remembers of everything it has read, for one layer. */
interface LayerState {
  /** The previous token's input of the time mix, [D]. */
  attX: Float64Array;
  /** The previous token's input of the channel mix, [D]. */
  ffnX: Float64Array;
  /** The recurrence, [H][N key][N value]. */
  wkv: Float64Array;
}

export type ReferenceState = LayerState[];

export interface ReferenceOptions {
  /** Added to the variance in the group norm after the recurrence; BlinkDL's code has 1e-5 * 8 * 8. */
  groupNormEpsilon?: number;
  /** What multiplies the matrix of that name by a vector, instead of {@link matvec}. */
  product?: Product;
}

export type Product = (name: string, matrix: ReferenceTensor, vector: Float64Array) => Float64Array;

const layerNormEpsilon = 1e-5;

const { exp, log, max, sqrt } = Math; // jest looks up a global anew each time, slowly

const sigmoid = (x: number): number => 1 / (1 + exp(-x));
const silu = (x: number): number => x * sigmoid(x);
const squaredRelu = (x: number): number => max(x, 0) ** 2;

function at(values: Float64Array, index: number): number {
  const value = values[index];
  if (value === undefined) {
    throw new RangeError(`index ${index} of ${values.length} elements`);
  }
  return value;
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + at(b, i));
}

function multiply(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value * at(b, i));
}

/** matrix [rows, columns] times vector [columns]. */
export function matvec({ shape, data }: ReferenceTensor, vector: Float64Array): Float64Array {
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || columns !== vector.length) {
    throw new RangeError(`a matrix [${shape.join(', ')}] times a vector [${vector.length}]`);
  }
  const result = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) {
      sum += (data[row * columns + column] ?? NaN) * (vector[column] ?? NaN);
    }
    result[row] = sum;
  }
  return result;
}

/** (x - mean) / sqrt(variance + epsilon), with the variance that divides by the number of elements. */
function normalize(x: Float64Array, epsilon: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  return x.map((value) => (value - mean) / sqrt(variance + epsilon));
}

/** The token shift: each channel a mixture of this token and the one before, x * mix + previous * (1 - mix). */
function tokenShift(x: Float64Array, previous: Float64Array, mix: Float64Array): Float64Array {
  return x.map((value, i) => value * at(mix, i) + at(previous, i) * (1 - at(mix, i)));
}

export class ReferenceModel {
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  readonly headSize: number;
  readonly vocabulary: number;
  readonly #tensors: ReadonlyMap<string, ReferenceTensor>;
  readonly #groupNormEpsilon: number;
  readonly #product: Product;

  /** @param tensors by the names that BlinkDL publishes, for example `blocks.0.att.key.weight`. */
  constructor(
    tensors: ReadonlyMap<string, ReferenceTensor>,
    {
      groupNormEpsilon = 64e-5,
      product = (_name, matrix, vector) => matvec(matrix, vector),
    }: ReferenceOptions = {},
  ) {
    this.#tensors = tensors;
    this.#groupNormEpsilon = groupNormEpsilon;
    this.#product = product;
    [this.vocabulary = 0, this.embedding = 0] = this.#tensor('emb.weight').shape;
    [this.heads = 0, this.headSize = 0] = this.#tensor('blocks.0.att.time_decay').shape;
    let layers = 0;
    while (tensors.has(`blocks.${layers}.ln1.weight`)) {
      layers++;
    }
    this.layers = layers;
  }

  /** The state before the first token: zeros. */
  initialState(): ReferenceState {
    return Array.from({ length: this.layers }, () => ({
      attX: new Float64Array(this.embedding),
      ffnX: new Float64Array(this.embedding),
      wkv: new Float64Array(this.heads * this.headSize * this.headSize),
    }));
  }

  /** Reads one token, moves the state on, and returns the logits of the token that follows, [V]. */
  forward(token: number, state: ReferenceState): Float64Array {
    let x = this.#layerNorm(this.#row('emb.weight', token), 'blocks.0.ln0');
    state.forEach((layer, i) => {
      x = add(x, this.#timeMix(`blocks.${i}.att`, this.#layerNorm(x, `blocks.${i}.ln1`), layer));
      x = add(x, this.#channelMix(`blocks.${i}.ffn`, this.#layerNorm(x, `blocks.${i}.ln2`), layer));
    });
    return this.#linear('head', this.#layerNorm(x, 'ln_out'));
  }

  /** The time mix ("attention"): x [D] to [D] through [H * N]. */
  #timeMix(name: string, x: Float64Array, state: LayerState): Float64Array {
    const shifted = (mix: string): Float64Array => tokenShift(x, state.attX, this.#vector(`${name}.${mix}`));
    const r = this.#linear(`${name}.receptance`, shifted('time_mix_r'));
    const k = this.#linear(`${name}.key`, shifted('time_mix_k'));
    const v = this.#linear(`${name}.value`, shifted('time_mix_v'));
    const g = this.#linear(`${name}.gate`, shifted('time_mix_g')).map(silu);
    state.attX = x;
    const w = this.#vector(`${name}.time_decay`).map((decay) => exp(-exp(decay))); // [H * N]
    const u = this.#vector(`${name}.time_faaaa`); // [H * N]

    const y = new Float64Array(this.heads * this.headSize);
    for (let head = 0; head < this.heads; head++) {
      const channels = head * this.headSize;
      y.set(this.#recurrence(channels, { r, k, v, w, u }, state.wkv), channels);
    }
    const scaled = multiply(this.#groupNorm(y), this.#vector(`${name}.ln_x.weight`));
    return this.#linear(`${name}.output`, multiply(add(scaled, this.#vector(`${name}.ln_x.bias`)), g));
  }

  /**
   * One head's step of the recurrence on its matrix S [N key][N value], with `first` the head's first channel:
   * y[j] = sum over i of r[i] * (S[i][j] + u[i] * k[i] * v[j]); then S[i][j] = w[i] * S[i][j] + k[i] * v[j].
   */
  #recurrence(
    first: number,
    { r, k, v, w, u }: Record<'r' | 'k' | 'v' | 'w' | 'u', Float64Array>,
    wkv: Float64Array,
  ): Float64Array {
    const size = this.headSize;
    const y = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      const key = first + i;
      for (let j = 0; j < size; j++) {
        const cell = key * size + j;
        const S = at(wkv, cell);
        const kv = at(k, key) * at(v, first + j);
        y[j] = at(y, j) + at(r, key) * (S + at(u, key) * kv);
        wkv[cell] = at(w, key) * S + kv;
      }
    }
    return y;
  }

  /** The channel mix ("feed-forward"): x [D] to [D] through [F]. */
  #channelMix(name: string, x: Float64Array, state: LayerState): Float64Array {
    const shifted = (mix: string): Float64Array => tokenShift(x, state.ffnX, this.#vector(`${name}.${mix}`));
    const k = this.#linear(`${name}.key`, shifted('time_mix_k')).map(squaredRelu);
    const r = this.#linear(`${name}.receptance`, shifted('time_mix_r')).map(sigmoid);
    state.ffnX = x;
    return multiply(r, this.#linear(`${name}.value`, k));
  }

  /** Each head normalized on its own, before the weight and bias of ln_x. */
  #groupNorm(y: Float64Array): Float64Array {
    const result = new Float64Array(y.length);
    for (let start = 0; start < y.length; start += this.headSize) {
      result.set(normalize(y.subarray(start, start + this.headSize), this.#groupNormEpsilon), start);
    }
    return result;
  }

  #layerNorm(x: Float64Array, name: string): Float64Array {
    const scaled = multiply(normalize(x, layerNormEpsilon), this.#vector(`${name}.weight`));
    return add(scaled, this.#vector(`${name}.bias`));
  }

  #linear(name: string, x: Float64Array): Float64Array {
    return this.#product(name, this.#tensor(`${name}.weight`), x);
  }

  /** All elements of a tensor that is a vector in the equations ([D], [1, 1, D], [H, N]). */
  #vector(name: string): Float64Array {
    return this.#tensor(name).data;
  }

  #row(name: string, row: number): Float64Array {
    const { shape, data } = this.#tensor(name);
    const [rows = 0, columns = 0] = shape;
    if (!Number.isInteger(row) || row < 0 || row >= rows) {
      throw new RangeError(`row ${row} of ${name}, which has ${rows}`);
    }
    return data.slice(row * columns, (row + 1) * columns);
  }

  #tensor(name: string): ReferenceTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new Error(`the model has no tensor ${name}`);
    }
    return tensor;
  }
}

/** The state as the package lays it out: per layer att_x [D], ffn_x [D], wkv [H][N key][N value]. */
export function flattenState(state: ReferenceState): Float64Array {
  return Float64Array.from(state.flatMap(({ attX, ffnX, wkv }) => [...attX, ...ffnX, ...wkv]));
}

/** Natural logarithms of the probabilities that these logits stand for. */
export function logSoftmax(logits: Float64Array): Float64Array {
  const largest = logits.reduce((a, b) => max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + exp(logit - largest), 0);
  return logits.map((logit) => logit - largest - log(sum));
}
