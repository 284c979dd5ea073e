import { isNativeError } from 'node:util/types';
import { chooseGpu, usableGpus, type Gpu } from './cuda';
import { anyDevice, type Device } from './device';
import { WkvError } from './errors';
import { formatBytes } from './format-bytes';
import { modelPath, openTensorDirectory, type TensorDirectory } from './formats';
import { chatTemplateKey } from './formats/chat-template';
import { runJob } from './job';
import { usableMemory } from './memory';
import { Model, type ModelInfo } from './model';
import { fromNative, native, type CudaTarget, type NativeLoadOptions, type NativeModel } from './native';
import { abortSignal, boolean, callback, checkOptions, integer, number, oneOf, wrongType } from './options';
import { precisions, type Precision } from './quantized';
import type { StatePrecision } from './state';
import { storedBytesOf } from './stored-bytes';
import { maxThreads, usableThreads } from './threads';
import { findTokenizer } from './tokenizer-search';
import type { TokenizerLike } from './tokenizer';

/** Sessions that are stepped together at most. */
const defaultMaxBatch = 64;

export interface LoadProgress {
  phase: 'load';
  /** Bytes of weights read so far. */
  completed: number;
  /** Bytes of weights in all. */
  total: number;
}

export interface LoadOptions {
  /**
   * Where the model runs: 'cpu'; 'cuda', or 'cuda:1' and so on, for an NVIDIA GPU, which keeps its weights in int8 (or
   * int4, where `weights` or a packed file say so); or 'auto' (the default). That is a GPU where the package of the CUDA
   * backend is installed, the weights would be int8 on the CPU too, and they and two states for each of
   * `maxBatch` sessions fit into the GPU's free memory; else the CPU. The bits are the same on both.
   */
  device?: Device | undefined;
  /**
   * What to keep matrices in. 'auto' (the default) is what a packed file has, which cannot be loaded as anything else,
   * else 'int8' from 100 million parameters on, and 'f32' below. With 'int8' and 'int4', activations are quantized too, to
   * 8 bits per group of channels and token (docs/quantization.md). 'int4' takes little more than half of the memory of
   * 'int8', and loses some quality.
   */
  weights?: 'auto' | Precision | undefined;
  /** Threads that compute, 1 to 256; by default what the process may use. Results do not depend on it. */
  threads?: number | undefined;
  /** Sessions that are stepped together at most, 1 to 65,536; 64 by default. Results do not depend on it. */
  maxBatch?: number | undefined;
  /**
   * How sessions are kept between calls: 'f32' (the default), or 'f16' with one scale per head, half the memory. Within
   * a call, and a generation is one, everything is f32; at its end the state is rounded once.
   */
  statePrecision?: StatePrecision | undefined;
  /**
   * Turns text into tokens; by default one that fits: the vocabulary of the model's own file (GGUF), a vocabulary file
   * beside the model, the World vocabulary, or bytes.
   */
  tokenizer?: TokenizerLike | undefined;
  /** Epsilon of the group norm, 0 to 1: 64e-5, with which all published models were trained. */
  groupNormEpsilon?: number | undefined;
  /**
   * Whether the matrices of a packed file ({@link convertModel}) stay where they are, mapped into memory, which
   * processes share (true, the default), or are copied. A mapped file must not be truncated or written to while it is
   * in use, or the process may be killed; replacing and deleting it are safe. Other files are never mapped, nor are
   * those of models on a GPU.
   */
  mmap?: boolean | undefined;
  /**
   * Called now and then, and when all is read; what it throws ends the loading. Begins anew where 'auto' finds that a GPU
   * has no room. Where the process has the weights already, or loads them for another call, it is called once, at the end.
   */
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Ends the loading within a tenth of a second; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Loads a model from an official file as it is: BlinkDL's `.pth`, `.safetensors`, or a directory as Hugging Face
 * lays it out; from a `.st` of web-rwkv; from a GGUF of llama.cpp or a `.bin` of rwkv.cpp, whose blocks are dequantized;
 * or from a packed file, which {@link convertModel} makes of these. Nothing of the file is executed. A process holds one
 * copy of the weights per file and options.
 *
 * @param path a path or `file:` URL of a file, a directory, or an index of shards
 * @throws {WkvError} `ERR_WKV_FORMAT`, `ERR_WKV_UNSUPPORTED` or `ERR_WKV_SHAPE` for a file that is damaged, not
 *   supported, or does not fit together; `ERR_WKV_MEMORY` before any weights are read, where they do not fit;
 *   `ERR_WKV_DEVICE` where the device that is asked for cannot be used
 * @throws {TypeError} or {RangeError} for wrong options
 */
export async function loadModel(path: string | URL, options?: LoadOptions): Promise<Model> {
  const checked = checkLoadOptions(options);
  const { device = 'auto', signal } = checked;
  const gpu = chooseGpu(device);
  const name = modelPath(path);
  const directory = await openTensorDirectory(name, { signal });
  try {
    if (device === 'auto') {
      for (const automatic of gpusWithRoom(directory, checked)) {
        const onGpu = await tryOn(automatic, directory, name, checked);
        if (onGpu !== undefined) return onGpu;
      }
    }
    return await loadOn(gpu, directory, name, checked);
  } catch (error) {
    throw fromNative(error, { path: name }, directory.ownName);
  } finally {
    await directory.close();
  }
}

type CheckedOptions = ReturnType<typeof checkLoadOptions>;

function nativeOptions(
  { weights = 'auto', groupNormEpsilon, mmap }: CheckedOptions,
  cuda?: CudaTarget,
): NativeLoadOptions {
  return { weights: weights === 'auto' ? undefined : weights, groupNormEpsilon, mmap, cuda };
}

/** @param gpu undefined for the CPU */
async function loadOn(
  gpu: Gpu | undefined,
  directory: TensorDirectory,
  name: string,
  checked: CheckedOptions,
): Promise<Model> {
  const { signal, onProgress, statePrecision } = checked;
  const loadOptions = nativeOptions(checked, gpu?.target);
  // A packed file has weights of its own.
  if (gpu !== undefined && directory.packed === undefined) loadOptions.weights ??= 'int8';
  const { vocabulary, loaded } = requireMemory(directory, loadOptions, name);
  const tokenizer = checked.tokenizer ?? findTokenizer(name, vocabulary, directory.vocabulary);
  const engineOptions = {
    ...loadOptions,
    threads: checked.threads ?? usableThreads(),
    maxBatch: checked.maxBatch ?? defaultMaxBatch,
    packStates: statePrecision === 'f16',
  };
  const load = (onlyShared: boolean): Promise<NativeModel | null> =>
    runJob((report) => native.loadModel(directory, { ...engineOptions, onlyShared }, report), {
      onProgress: onProgress && ((completed, total) => onProgress({ phase: 'load', completed, total })),
      whole: bytesOf(directory),
      signal,
      discard: async (unwanted) => {
        await unwanted?.dispose();
      },
    });
  let model = await load(loaded);
  // Somebody else was loading it, and has been stopped: whether there is room was not asked then.
  while (model === null) model = await load(requireMemory(directory, loadOptions, name).loaded);
  const chatTemplate = directory.metadata[chatTemplateKey];
  const info: ModelInfo = {
    ...model.info(),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    device: gpu === undefined ? 'cpu' : `cuda:${gpu.target.device}`,
    isa: gpu?.name ?? native.features().selected,
  };
  return Model.of(model, info, tokenizer, statePrecision === 'f16');
}

/** A GPU for 'auto', and whether the process has the model on it already. */
interface AutomaticGpu {
  gpu: Gpu;
  shared: boolean;
}

/**
 * For 'auto': GPUs, if the model would be in int8 anyway, so that the bits are the same, that have the model already, or
 * room for it and for as many sessions as are computed together. In int4 it has to be asked for, until that has run on a
 * real GPU.
 */
function* gpusWithRoom(
  directory: TensorDirectory,
  checked: CheckedOptions,
): Generator<AutomaticGpu, void, undefined> {
  const onCpu = native.inspectModel(directory, nativeOptions(checked));
  if (onCpu.weights !== 'int8' || onCpu.loaded) return;
  const needed = onCpu.weightBytes + statesOf(checked) * onCpu.stateBytes;
  for (const gpu of usableGpus()) {
    const shared = native.inspectModel(directory, nativeOptions(checked, gpu.target)).loaded;
    if (shared || gpu.freeMemory >= needed) yield { gpu, shared };
  }
}

/** What all tensors take in their files. */
function bytesOf({ tensors }: TensorDirectory): number {
  return tensors.reduce((sum, tensor) => sum + storedBytesOf(tensor), 0);
}

/** The model on this GPU, or undefined where the GPU refuses it or has too little room beside it. */
async function tryOn(
  { gpu, shared }: AutomaticGpu,
  directory: TensorDirectory,
  name: string,
  checked: CheckedOptions,
): Promise<Model | undefined> {
  let model: Model;
  try {
    model = await loadOn(gpu, directory, name, checked);
  } catch (error) {
    if (checked.signal?.aborted === true || !isRefusalOfGpu(error)) throw error;
    return undefined;
  }
  if (shared || (model.info.sessionsThatFit ?? 0) >= statesOf(checked)) return model;
  await model.dispose();
  return undefined;
}

/** States that sessions which are computed together take at most: a call may need a second one for each. */
const statesOf = ({ maxBatch = defaultMaxBatch }: CheckedOptions): number => 2 * maxBatch;

/** Whether it is the addon's own error of a GPU: dimensions that its kernels do not take, too little memory. */
function isRefusalOfGpu(error: unknown): boolean {
  if (!isNativeError(error) || error instanceof WkvError || !('code' in error)) return false;
  return error.code === 'ERR_WKV_DEVICE' || error.code === 'ERR_WKV_UNSUPPORTED';
}

function checkLoadOptions(options: unknown) {
  return checkOptions<LoadOptions>(options, {
    device: anyDevice,
    weights: oneOf('auto', ...precisions),
    threads: integer(1, maxThreads),
    maxBatch: integer(1, 65_536),
    statePrecision: oneOf('f32', 'f16'),
    tokenizer: (name, value) => {
      if (!isTokenizer(value))
        throw wrongType(name, 'an object with size, endOfText, encode and decodeBytes', value);
      integer(1, 2 ** 32)(`${name}.size`, value.size);
      // It may be one that the vocabulary does not have.
      integer(0, 2 ** 32 - 1)(`${name}.endOfText`, value.endOfText);
      return value;
    },
    groupNormEpsilon: number(0, 1),
    mmap: boolean,
    onProgress: callback,
    signal: abortSignal,
  });
}

function isTokenizer(value: unknown): value is TokenizerLike {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['size', 'endOfText'].every((key) => typeof Reflect.get(value, key) === 'number') &&
    ['encode', 'decodeBytes'].every((key) => typeof Reflect.get(value, key) === 'function')
  );
}

/**
 * Refuses a model that does not fit, unless the process has it already. How much of a GPU is free, its library looks at;
 * a model on its way there takes little of the system's memory.
 */
function requireMemory(directory: TensorDirectory, options: NativeLoadOptions, path: string) {
  const info = native.inspectModel(directory, options);
  const free = usableMemory();
  if (options.cuda === undefined && !info.loaded && info.weightBytes > free) {
    throw new WkvError(
      'ERR_WKV_MEMORY',
      `the weights take ${formatBytes(info.weightBytes)} as ${info.weights}, but only ${formatBytes(free)} of memory are free`,
      { path, expected: `${info.weightBytes} bytes`, found: `${free} bytes` },
    );
  }
  return info;
}
