import { isFloat32Array, isInt8Array } from 'node:util/types';
import { chooseGpu, cudaDevices, type CudaDevice, type UnusableCudaDevice } from './cuda';
import { anyDevice, type Device } from './device';
import { WkvError } from './errors';
import { callNative, native } from './native';
import { checkOptions, integer, lengthOf, outOfRange, wrongType, type Checks } from './options';
import { usableThreads } from './threads';

/** A matrix of 8-bit numbers: element [row][column] is `values * scales[row][column / group, rounded down]`. */
export interface Int8Matrix {
  /** Codes from -127 to 127, [rows][columns]. */
  readonly values: Int8Array;
  /** [rows][groups], with as many groups as it takes for all columns. */
  readonly scales: Float32Array;
  /** Columns that share a scale: a multiple of 16, or 0 for whole rows. */
  readonly group: number;
}

export interface QuantizeInt8Options {
  /** 1 to 2^24; so are columns. A matrix has fewer than 2^31 numbers. */
  rows: number;
  columns: number;
  /** Columns that share a scale: a multiple of 16, at most 65,536; 0 (the default) for whole rows of no more than that. */
  group?: number | undefined;
}

export interface GemmInt8Arguments {
  /** [tokens][columns]; quantized to 8 bits inside, in the groups of the weights. */
  activations: Float32Array;
  weights: Omit<Int8Matrix, 'group'> & { readonly group?: number | undefined };
  /** 1 to 2^24; so are rows and columns. Each array has fewer than 2^31 numbers. */
  tokens: number;
  rows: number;
  columns: number;
  /** 'auto' (the default) is the CPU. With a GPU everything is copied there and back; the bits are the same. */
  device?: Device | undefined;
}

export interface Wkv5Arguments {
  /** Receptance, [batch][tokens][heads][headSize]; so are k and v. */
  r: Float32Array;
  k: Float32Array;
  v: Float32Array;
  /** Decay of each key channel, exp(-exp(time_decay)), 0 to 1, [heads][headSize]. */
  w: Float32Array;
  /** Bonus of each key channel, time_faaaa, [heads][headSize]. */
  u: Float32Array;
  /** What the recurrence begins with, [batch][heads][key][value]; zeros if it is not given. */
  state?: Float32Array | undefined;
  /** 1 to 2^24; so are tokens and heads. Each array has fewer than 2^31 numbers. */
  batch: number;
  tokens: number;
  heads: number;
  /** 1 to 4,096; at most 1,024 on a GPU. */
  headSize: number;
  /** 'auto' (the default) is the CPU. With a GPU everything is copied there and back; the bits are the same. */
  device?: Device | undefined;
}

export interface KernelFeatures {
  /** The instruction sets that this processor can run, best first; the last is 'portable'. */
  readonly isa: readonly string[];
  /** The one in use: the best, or what the environment variable WKV_ISA names. */
  readonly selected: string;
  /** The NVIDIA GPUs that models can be on, or why there is none. */
  readonly cuda:
    | {
        readonly available: true;
        readonly devices: readonly CudaDevice[];
        readonly unusable: readonly UnusableCudaDevice[];
      }
    | { readonly available: false; readonly reason: string };
}

const most = 2 ** 24;
const size = integer(1, most);
const maxNumbers = 2 ** 31 - 1;

/** The computations that a model is made of, on arrays. All of them are synchronous and leave their arguments alone. */
export const kernels = Object.freeze({
  /**
   * Rounds a matrix [rows][columns] to 8 bits. A group's scale is that of its largest magnitude / 127, 126, ... 121,
   * whichever loses least in the squares; a group below 1e-30 becomes zeros.
   *
   * @returns codes [rows][columns] and scales [rows][groups], for {@link kernels.gemmInt8}
   * @throws {TypeError} or {RangeError} for arguments that do not fit together, or a number that is not finite
   */
  quantizeInt8(matrix: Float32Array, options: QuantizeInt8Options): Int8Matrix {
    const checks: Checks<QuantizeInt8Options> = { rows: size, columns: size, group: groupSize };
    const checked = checkOptions(options, checks, 'options', ['rows', 'columns']);
    const { rows, columns } = checked;
    const numbers = floats('matrix', matrix, rows * columns);
    const bad = numbers.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw outOfRange(`matrix[${bad}]`, 'a finite number', numbers[bad]);
    const group = wholeGroup('options.group', checked.group ?? 0, columns);
    const values = new Int8Array(rows * columns);
    const scales = new Float32Array(rows * Math.ceil(columns / group));
    callNative(() => {
      native.kernels.quantizeInt8({ matrix: numbers, rows, columns, group, values, scales });
    });
    return { values, scales, group: checked.group ?? 0 };
  },

  /**
   * `output[t][r]`, the sum over columns of `weights[r][c] * activations[t][c]`, with 8-bit products: activations are
   * quantized per token and group, sums are exact in 32 bits per group and scaled in float32. A NaN or an infinity among a
   * token's activations makes all of its outputs NaN.
   *
   * @returns [tokens][rows]
   * @throws {TypeError} or {RangeError} for arguments that do not fit together; {WkvError} `ERR_WKV_DEVICE`, or
   *   `ERR_WKV_UNSUPPORTED` for a size that is too large for the kernel on a GPU
   */
  gemmInt8(gemm: GemmInt8Arguments): Float32Array {
    const checks: Checks<GemmInt8Arguments> = {
      activations: anyFloats,
      weights: anyWeights,
      tokens: size,
      rows: size,
      columns: size,
      device: anyDevice,
    };
    const needed = ['activations', 'weights', 'tokens', 'rows', 'columns'] as const;
    const given = checkOptions(gemm, checks, 'arguments', needed);
    const { weights, tokens, rows, columns, activations } = given;
    const group = wholeGroup('weights.group', groupSize('weights.group', weights.group ?? 0), columns);
    const values = codes('weights.values', weights.values, rows * columns);
    const scales = floats('weights.scales', weights.scales, rows * Math.ceil(columns / group));
    const x = floats('activations', activations, tokens * columns);
    const output = new Float32Array(within('tokens * rows', tokens * rows));
    const threads = usableThreads();
    const cuda = chooseGpu(given.device)?.target;
    callNative(() => {
      native.kernels.gemmInt8({
        activations: x,
        values,
        scales,
        tokens,
        rows,
        columns,
        group,
        threads,
        output,
        cuda,
      });
    });
    return output;
  },

  /**
   * The recurrence of RWKV-5 (arXiv 2404.05892), for each head on its state S [key][value], token by token:
   * `y[j] = sum over i of r[i] * (S[i][j] + u[i] * k[i] * v[j])`, then `S[i][j] = w[i] * S[i][j] + k[i] * v[j]`.
   *
   * @returns y [batch][tokens][heads][headSize], and the state after the last token
   * @throws {TypeError} or {RangeError} for arguments that do not fit together; {WkvError} `ERR_WKV_DEVICE`, or
   *   `ERR_WKV_UNSUPPORTED` for a size that is too large for the kernel on a GPU
   */
  wkv5(wkv: Wkv5Arguments): { y: Float32Array; state: Float32Array } {
    const array = anyFloats;
    const checks: Checks<Wkv5Arguments> = {
      ...{ r: array, k: array, v: array, w: array, u: array, state: array },
      ...{ batch: size, tokens: size, heads: size, headSize: integer(1, 4096), device: anyDevice },
    };
    const needed = ['r', 'k', 'v', 'w', 'u', 'batch', 'tokens', 'heads', 'headSize'] as const;
    const given = checkOptions(wkv, checks, 'arguments', needed);
    const { batch, tokens, heads, headSize } = given;
    const channels = heads * headSize;
    const count = batch * tokens * channels;
    const states = batch * channels * headSize;
    const r = floats('r', given.r, count);
    const k = floats('k', given.k, count);
    const v = floats('v', given.v, count);
    const w = floats('w', given.w, channels);
    const u = floats('u', given.u, channels);
    const state =
      given.state === undefined
        ? new Float32Array(within('the state', states))
        : new Float32Array(floats('state', given.state, states));
    const y = new Float32Array(count);
    const cuda = chooseGpu(given.device)?.target;
    callNative(() => {
      native.kernels.wkv5({ r, k, v, w, u, state, batch, tokens, heads, headSize, y, cuda });
    });
    return { y, state };
  },

  /** What the kernels run on here. */
  features(): KernelFeatures {
    const { isa, selected } = native.features();
    return { isa, selected, cuda: cudaFeatures() };
  },
});

function cudaFeatures(): KernelFeatures['cuda'] {
  try {
    return { available: true, ...cudaDevices() };
  } catch (error) {
    if (error instanceof WkvError) return { available: false, reason: error.message };
    throw error;
  }
}

function groupSize(name: string, value: unknown): number {
  const group = integer(0, 65_536)(name, value);
  if (group % 16 !== 0) throw outOfRange(name, 'a multiple of 16, or 0', group);
  return group;
}

/** The group that the kernels are given: a whole row is one group of all columns. */
function wholeGroup(name: string, group: number, columns: number): number {
  if (group !== 0) return group;
  const whole = Math.ceil(columns / 16) * 16;
  if (whole > 65_536) throw outOfRange(name, 'groups of at most 65,536 columns', group);
  return whole;
}

function within(name: string, count: number): number {
  if (count > maxNumbers) throw outOfRange(name, `at most ${maxNumbers} numbers`, count);
  return count;
}

function anyFloats(name: string, value: unknown): Float32Array {
  if (!isFloat32Array(value)) throw wrongType(name, 'a Float32Array', value);
  return value;
}

function floats(name: string, value: unknown, count: number): Float32Array {
  const array = anyFloats(name, value);
  within(name, count);
  const length = lengthOf(array);
  if (length !== count) throw outOfRange(`${name}.length`, String(count), length);
  return array;
}

/** 8-bit numbers but for -128, which has no counterpart and would not fit the sums. */
function codes(name: string, value: unknown, count: number): Int8Array {
  if (!isInt8Array(value)) throw wrongType(name, 'an Int8Array', value);
  within(name, count);
  const length = lengthOf(value);
  if (length !== count) throw outOfRange(`${name}.length`, String(count), length);
  const bad = value.indexOf(-128);
  if (bad >= 0) throw outOfRange(`${name}[${bad}]`, 'a code from -127 to 127', -128);
  return value;
}

function anyWeights(name: string, value: unknown): GemmInt8Arguments['weights'] {
  if (typeof value !== 'object' || value === null) throw wrongType(name, 'what quantizeInt8 returns', value);
  // Read once: what is checked later is what is used.
  const { values, scales, group } = value as GemmInt8Arguments['weights'];
  return { values, scales, group };
}
