/**
 * What all versions of RWKV have in common, in float64 and one token at a time: the frame of layer norms, residual
 * stream and head. Shapes in comments: D embedding, H heads, N head size, A width of the time mix (H * N, and D in all
 * published models), F feed-forward width, V vocabulary.
 */

/** One weight: dimensions, outermost first, and the elements in that order. */
export interface ReferenceTensor {
  shape: readonly number[];
  data: Float64Array;
}

export type ReferenceTensors = ReadonlyMap<string, ReferenceTensor>;

/** What a session remembers of everything it has read, for one layer. */
export interface LayerState {
  /** The previous token's input of the time mix, [D]. */
  attX: Float64Array;
  /** The previous token's input of the channel mix, [D]. */
  ffnX: Float64Array;
  /** Version 4: aa, bb, pp, [3][D]. Versions 5 and 6: [H][N key][N value]. Version 7: [H][N value][N key]. */
  recurrence: Float64Array;
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

const { exp, log, max, min, sqrt } = Math; // jest looks up a global anew each time, slowly

export const sigmoid = (x: number): number => 1 / (1 + exp(-x));
export const silu = (x: number): number => x * sigmoid(x);
export const squaredRelu = (x: number): number => max(x, 0) ** 2;

export function at(values: Float64Array, index: number): number {
  const value = values[index];
  if (value === undefined) {
    throw new RangeError(`index ${index} of ${values.length} elements`);
  }
  return value;
}

export function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + at(b, i));
}

export function multiply(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value * at(b, i));
}

/**
 * matrix [rows, columns] times vector [columns]. Four rows at a time, because a single sum would wait for each of its
 * additions; where fewer are left, the last one is computed several times.
 */
export function matvec({ shape, data }: ReferenceTensor, vector: Float64Array): Float64Array {
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || columns !== vector.length) {
    throw new RangeError(`a matrix [${shape.join(', ')}] times a vector [${vector.length}]`);
  }
  const result = new Float64Array(rows);
  for (let first = 0; first < rows; first += 4) {
    const second = min(first + 1, rows - 1);
    const third = min(first + 2, rows - 1);
    const fourth = min(first + 3, rows - 1);
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let column = 0; column < columns; column++) {
      const x = vector[column] ?? NaN;
      a += (data[first * columns + column] ?? NaN) * x;
      b += (data[second * columns + column] ?? NaN) * x;
      c += (data[third * columns + column] ?? NaN) * x;
      d += (data[fourth * columns + column] ?? NaN) * x;
    }
    result[first] = a;
    result[second] = b;
    result[third] = c;
    result[fourth] = d;
  }
  return result;
}

/** vector [rows] times matrix [rows, columns], as `x @ W` has it. */
export function vecmat(vector: Float64Array, { shape, data }: ReferenceTensor): Float64Array {
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || rows !== vector.length) {
    throw new RangeError(`a vector [${vector.length}] times a matrix [${shape.join(', ')}]`);
  }
  const result = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column] = at(result, column) + (vector[row] ?? NaN) * (data[row * columns + column] ?? NaN);
    }
  }
  return result;
}

/** (x - mean) / sqrt(variance + epsilon), with the variance that divides by the number of elements. */
function normalize(x: Float64Array, epsilon: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  return x.map((value) => (value - mean) / sqrt(variance + epsilon));
}

/** Versions 4 and 5: each channel a mixture of this token and the one before, x * mix + previous * (1 - mix). */
export function tokenShift(x: Float64Array, previous: Float64Array, mix: Float64Array): Float64Array {
  return x.map((value, i) => value * at(mix, i) + at(previous, i) * (1 - at(mix, i)));
}

/** Versions 6 and 7 count from the other side: x + (previous - x) * amount. */
export function lerp(x: Float64Array, previous: Float64Array, amount: Float64Array): Float64Array {
  return x.map((value, i) => value + (at(previous, i) - value) * at(amount, i));
}

/** [H][N][N] with the two last dimensions exchanged. */
export function transposeHeads(values: Float64Array, size: number): Float64Array {
  return values.map((_, cell) => {
    const [head, i, j] = [Math.trunc(cell / size / size), Math.trunc(cell / size) % size, cell % size];
    return at(values, (head * size + j) * size + i);
  });
}

/** A model of one version; the two mixes and the beginning of the recurrence are the version's own. */
export abstract class ReferenceModel {
  abstract readonly version: string;
  readonly layers: number;
  readonly embedding: number;
  readonly vocabulary: number;
  readonly #tensors: ReferenceTensors;
  readonly #groupNormEpsilon: number;
  readonly #product: Product;

  /** @param tensors by the names that BlinkDL publishes, for example `blocks.0.att.key.weight`. */
  constructor(
    tensors: ReferenceTensors,
    {
      groupNormEpsilon = 64e-5,
      product = (_name, matrix, vector) => matvec(matrix, vector),
    }: ReferenceOptions = {},
  ) {
    this.#tensors = tensors;
    this.#groupNormEpsilon = groupNormEpsilon;
    this.#product = product;
    [this.vocabulary = 0, this.embedding = 0] = this.tensor('emb.weight').shape;
    let layers = 0;
    while (tensors.has(`blocks.${layers}.ln1.weight`)) {
      layers++;
    }
    this.layers = layers;
  }

  /** The recurrence of a layer before the first token. */
  protected abstract initialRecurrence(layer: number): Float64Array;

  /** The time mix ("attention"): x [D] to [D] through [A]. Moves the state on. */
  protected abstract timeMix(layer: number, x: Float64Array, state: LayerState): Float64Array;

  /** The channel mix ("feed-forward"): x [D] to [D] through [F]. Moves the state on. */
  protected abstract channelMix(layer: number, x: Float64Array, state: LayerState): Float64Array;

  /** The state before the first token. */
  initialState(): ReferenceState {
    return Array.from({ length: this.layers }, (_, layer) => ({
      attX: new Float64Array(this.embedding),
      ffnX: new Float64Array(this.embedding),
      recurrence: this.initialRecurrence(layer),
    }));
  }

  /** Reads one token, moves the state on, and returns the logits of the token that follows, [V]. */
  forward(token: number, state: ReferenceState): Float64Array {
    let x = this.#layerNorm(this.#row('emb.weight', token), 'blocks.0.ln0');
    state.forEach((layer, i) => {
      x = add(x, this.timeMix(i, this.#layerNorm(x, `blocks.${i}.ln1`), layer));
      x = add(x, this.channelMix(i, this.#layerNorm(x, `blocks.${i}.ln2`), layer));
    });
    return this.linear('head', this.#layerNorm(x, 'ln_out'));
  }

  /** A product that the package may quantize: `<name>.weight` times x. */
  protected linear(name: string, x: Float64Array): Float64Array {
    return this.#product(name, this.tensor(`${name}.weight`), x);
  }

  /** Versions 4 to 6, of the shifted inputs: sigmoid(R xr) * (V relu(K xk)^2). */
  protected gatedChannelMix(name: string, xk: Float64Array, xr: Float64Array): Float64Array {
    const k = this.linear(`${name}.key`, xk).map(squaredRelu);
    const r = this.linear(`${name}.receptance`, xr).map(sigmoid);
    return multiply(r, this.linear(`${name}.value`, k));
  }

  /** Each head of y [A] normalized on its own, times the weight and plus the bias of the tensors `name`. */
  protected groupNorm(y: Float64Array, headSize: number, name: string): Float64Array {
    const result = new Float64Array(y.length);
    for (let start = 0; start < y.length; start += headSize) {
      result.set(normalize(y.subarray(start, start + headSize), this.#groupNormEpsilon), start);
    }
    return this.#scale(result, name);
  }

  /** All elements of a tensor that is a vector in the equations ([D], [1, 1, D], [H, N]). */
  protected vector(name: string): Float64Array {
    return this.tensor(name).data;
  }

  protected has(name: string): boolean {
    return this.#tensors.has(name);
  }

  protected tensor(name: string): ReferenceTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new Error(`the model has no tensor ${name}`);
    }
    return tensor;
  }

  #layerNorm(x: Float64Array, name: string): Float64Array {
    return this.#scale(normalize(x, layerNormEpsilon), name);
  }

  #scale(x: Float64Array, name: string): Float64Array {
    return add(multiply(x, this.vector(`${name}.weight`)), this.vector(`${name}.bias`));
  }

  #row(name: string, row: number): Float64Array {
    const { shape, data } = this.tensor(name);
    const [rows = 0, columns = 0] = shape;
    if (!Number.isInteger(row) || row < 0 || row >= rows) {
      throw new RangeError(`row ${row} of ${name}, which has ${rows}`);
    }
    return data.slice(row * columns, (row + 1) * columns);
  }
}

/** The state as the package lays it out: per layer att_x [D], ffn_x [D], and the recurrence. */
export function flattenState(state: ReferenceState): Float64Array {
  return Float64Array.from(state.flatMap(({ attX, ffnX, recurrence }) => [...attX, ...ffnX, ...recurrence]));
}

/** Natural logarithms of the probabilities that these logits stand for. */
export function logSoftmax(logits: Float64Array): Float64Array {
  const largest = logits.reduce((a, b) => max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + exp(logit - largest), 0);
  return logits.map((logit) => logit - largest - log(sum));
}
