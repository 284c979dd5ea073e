import { isNativeError } from 'node:util/types';
import { loadAddon } from './addon';
import { WkvError, type WkvErrorCode, type WkvErrorDetails } from './errors';
import type { TensorDirectory } from './formats';
import type { PlannedMatrix } from './formats/packed';
import type { ModelInfo } from './model';
import type { ElementType, Precision, QuantizedPrecision } from './quantized';
import { archiveHint } from './unpacked';

/** A vocabulary's trie; see native/addon/vocabulary.h. */
export interface NativeVocabulary {
  readonly size: number;
  encode(text: Uint8Array): Uint32Array;
  /** The same on another thread; the text is copied before this returns. */
  encodeAsync(text: Uint8Array): Promise<Uint32Array>;
}

export type NativeModelInfo = Omit<
  ModelInfo,
  'device' | 'sessionsThatFit' | 'isa' | 'fingerprint' | 'chatTemplate'
>;

/** What a call wants beside the new state: the values of `Output` in native/engine/engine.h. */
export const output = { none: 0, last: 1, all: 2, scores: 3 } as const;

/** The native sampler's options; see Sampling in native/engine/sampler.h. */
export interface NativeSampling {
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  typicalP: number;
  /** The values of SamplingStep. */
  order: Uint32Array;
  presencePenalty: number;
  frequencyPenalty: number;
  penaltyDecay: number;
  exempt: Uint32Array;
  forbidden: Uint32Array;
  biasTokens: Uint32Array;
  biasValues: Float32Array;
  logprobs: number;
}

export interface EvaluationRequest {
  tokens: Uint32Array;
  output?: (typeof output)[keyof typeof output];
  /** The tokens were generated: they are counted, and use up their random numbers. */
  generated?: boolean;
  /** A token is drawn after the last of `tokens`. */
  draw?: boolean;
  /** Which may be: a bit for each token, and no others; all where there is none. */
  mask?: Uint32Array | undefined;
  /** The call is over, and with it a generation: where states are packed between calls, this one is from now on. */
  pack?: boolean;
}

export interface Evaluation extends EvaluationRequest {
  /** Keeps a copy of the state, so that the call can be called off at any time. */
  abandonable: boolean;
}

/** A token that was drawn; the rest where logprobs were asked for. */
export interface NativeDrawn {
  token?: number;
  logprob?: number;
  topTokens?: Uint32Array;
  topLogprobs?: Float64Array;
}

export interface EvaluationResult extends NativeDrawn {
  cancelled: boolean;
  values?: Float32Array;
}

/** A session's random numbers: which sequence, and how many have been used. */
export interface NativeRandom {
  seed: bigint;
  draws: bigint;
}

/** What a sampler has drawn: its random numbers, and its counts of tokens, which ascend. */
export interface NativeSamplerState extends NativeRandom {
  tokens: Uint32Array;
  counts: Float64Array;
}

export interface NativeSampler {
  /** A token, which it counts; `undefined` where there is none to draw, and then nothing has changed. */
  sample(logits: Float32Array): number | undefined;
  state(): NativeSamplerState;
}

export interface NativeState {
  values(): Float32Array;
  serialize(precision: 'f32' | 'f16'): Uint8Array;
  serializeAsync(precision: 'f32' | 'f16'): Promise<Uint8Array>;
  info(): { fingerprint: string; tokens: number };
}

export interface NativeSession {
  evaluate(evaluation: Evaluation): Promise<EvaluationResult>;
  cancel(): void;
  /** How many tokens of the pending call have been evaluated; 0 where none is pending. */
  evaluated(): number;
  snapshot(): NativeState;
  random(): NativeRandom;
  setRandom(seed: bigint, draws: bigint): void;
  hasLogits(): boolean;
  /** How what follows is drawn and counted: in the session's own counts, or in counts that begin now. */
  beginGeneration(sampling: NativeSampling, sessionCounts: boolean): void;
  /** Keeps the state as it is now, after those kept before. */
  keep(): void;
  /** Lets the oldest `count` states go that were kept. */
  forget(count: number): void;
  /** Goes back to the oldest state that was kept; none is kept then. */
  goBack(): void;
  dispose(): void;
}

export interface NativeModel {
  info(): NativeModelInfo & Pick<ModelInfo, 'fingerprint' | 'sessionsThatFit'>;
  /** Sums over the engine's steps; empty once the model is disposed. */
  statistics(): Partial<Record<'steps' | 'tokens' | 'sessions' | 'most', number>>;
  createSession(state: NativeState | undefined, seed: bigint): NativeSession;
  /** A state of these numbers that has seen no tokens. */
  importState(values: Float32Array, seed: bigint): NativeState;
  /** Throws where it is a state of another model, or has another layout. */
  requireOwnState(state: NativeState): void;
  dispose(): Promise<void>;
}

/** A GPU: the path of the CUDA backend's library, and the device's number. */
export interface CudaTarget {
  library: string;
  device: number;
}

export interface NativeLoadOptions {
  weights?: Precision | undefined;
  groupNormEpsilon?: number | undefined;
  mmap?: boolean | undefined;
  /** The device of the CUDA backend's library that the model is to be on. */
  cuda?: CudaTarget | undefined;
}

/** Work on another thread; the promise is of `undefined` where it was called off. */
export interface NativeJob<Result> {
  promise: Promise<Result | undefined>;
  cancel: () => void;
}

/** Told now and then how far a job is. */
export type NativeProgress = ((completed: number, total: number) => void) | undefined;

/** A file that is to be written: where, and with how many threads. */
export interface NativeDestination {
  temporary: string;
  path: string;
  /** Whether what is at the path when the file is whole is replaced; else that is an error, EEXIST. */
  overwrite: boolean;
  threads: number;
}

/** With its first bytes, and where tensors lie in it, by name; see native/engine/model_converter.h. */
interface NativeFile extends NativeDestination {
  header: Uint8Array;
  places: Readonly<Record<string, number>>;
}

interface NativeEngineOptions {
  threads: number;
  maxBatch: number;
  packStates: boolean;
  /** Loads nothing itself: gives null where what was there, or on its way, is no more. */
  onlyShared: boolean;
}

interface NativeBinding {
  Vocabulary: new (bytes: Uint8Array, offsets: Uint32Array) => NativeVocabulary;
  Sampler: new (sampling: NativeSampling, state: NativeSamplerState) => NativeSampler;
  State: {
    deserialize(bytes: Uint8Array): NativeState;
    deserializeAsync(bytes: Uint8Array): Promise<NativeState>;
  };
  inspectModel(directory: TensorDirectory, options: NativeLoadOptions): NativeModelInfo & { loaded: boolean };
  loadModel(
    directory: TensorDirectory,
    options: NativeLoadOptions & NativeEngineOptions,
    onProgress: NativeProgress,
  ): NativeJob<NativeModel | null>;
  planConversion(directory: TensorDirectory, weights: QuantizedPrecision): PlannedMatrix[];
  /** Writes the file and gives the fingerprint of its weights. */
  convertModel(
    directory: TensorDirectory,
    file: NativeFile & { weights: QuantizedPrecision; fingerprintAt: number },
    onProgress: NativeProgress,
  ): NativeJob<string>;
  /** Writes all tensors' elements; gives `true`. */
  convertElements(
    directory: TensorDirectory,
    file: NativeFile & { type: ElementType },
    onProgress: NativeProgress,
  ): NativeJob<true>;
  /** Has a file or an empty directory removed when the thread ends, however it does; a directory before what is in it. */
  addTemporaryPath(path: string): void;
  forgetTemporaryPath(path: string): void;
  /** The elements of all tensors, one after the other in the directory's order. */
  readElements(directory: TensorDirectory): Promise<Float32Array>;
  /** Passes on to the engines what sessions were asked to evaluate; see lib/turn.ts. */
  flush(): void;
  /** See native/addon/kernels.cpp: arguments by name, checked before; arrays for results are filled. */
  kernels: Record<'quantizeInt8' | 'gemmInt8' | 'wkv5', (args: object) => void>;
  /** Operations per second of so many threads with the selected instruction set; 0 where no ceiling is known. */
  measurePeak(of: 'int8' | 'f32', threads: number): Promise<number>;
  /** Bytes of memory that so many threads read per second; takes 512 MiB of it meanwhile. */
  measureRead(threads: number): Promise<number>;
  features(): { isa: string[]; selected: string; note: string };
  /** Opens the CUDA backend's library at this path, once, and says how many GPUs there are. */
  cudaDeviceCount(library: string): number;
  /** What a GPU is, or why it cannot be used. From then on the process has some memory of that GPU. */
  cudaDevice(
    library: string,
    index: number,
  ): { name: string; computeCapability: string; memory: number; freeMemory: number } | { reason: string };
}

/** The addon. */
export const native = loadAddon() as NativeBinding;

/**
 * The addon's errors carry the codes and details of {@link WkvError}; everything else stays what it is, and so does what
 * is one already: a caller's own, say, as the reason of a signal.
 *
 * @param ownName what the file calls the tensor that the addon knows by this name
 */
export function fromNative(
  error: unknown,
  details: WkvErrorDetails = {},
  ownName: (name: string) => string = (name) => name,
): unknown {
  if (error instanceof WkvError || !isNativeError(error)) return error;
  if (!('code' in error) || !isWkvCode(error.code)) return error;
  const found: WkvErrorDetails = { ...details };
  for (const key of ['path', 'tensor', 'expected', 'found'] as const) {
    const value: unknown = Reflect.get(error, key);
    if (typeof value === 'string') found[key] = value;
  }
  let { message } = error;
  if (found.tensor !== undefined) {
    const name = ownName(found.tensor);
    // By itself a name may be a part of a word.
    message = message.replaceAll(`tensor ${found.tensor}`, () => `tensor ${name}`);
    found.tensor = name;
  }
  const hint = error.code === 'ERR_WKV_FORMAT' ? archiveHint(found.path ?? '') : '';
  return new WkvError(error.code, `${message}${hint}`, found);
}

/** Calls the addon; what it throws is as {@link fromNative} makes it. */
export function callNative<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** The same for calls whose result comes later. */
export async function awaitNative<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw fromNative(error);
  }
}

function isWkvCode(code: unknown): code is WkvErrorCode {
  return typeof code === 'string' && code.startsWith('ERR_WKV_');
}
