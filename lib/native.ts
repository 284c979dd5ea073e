import { join } from 'node:path';
import { isNativeError } from 'node:util/types';
import load from 'node-gyp-build';
import { WkvError, type WkvErrorCode, type WkvErrorDetails } from './errors';
import type { StoredType, TensorDirectory } from './formats';

/** A vocabulary's trie; see native/addon/vocabulary.h. */
export interface NativeVocabulary {
  readonly size: number;
  encode(text: Uint8Array): Uint32Array;
}

export interface NativeModelInfo {
  architecture: string;
  version: string;
  layers: number;
  embedding: number;
  heads: number;
  headSize: number;
  feedForward: number;
  vocabulary: number;
  parameters: number;
  weights: StoredType;
  weightBytes: number;
  stateBytes: number;
}

/** What a call wants beside the new state: the values of `Output` in native/engine/engine.h. */
export const output = { none: 0, last: 1, all: 2, scores: 3 } as const;

export interface EvaluationRequest {
  tokens: Uint32Array;
  output: (typeof output)[keyof typeof output];
  /** With it a token is drawn after the last of `tokens`. */
  temperature?: number | undefined;
  topP?: number | undefined;
}

export interface Evaluation extends EvaluationRequest {
  /** Keeps a copy of the state, so that the call can be called off at any time. */
  abandonable: boolean;
}

export interface EvaluationResult {
  cancelled: boolean;
  values?: Float32Array;
  sampled?: number;
}

/** A session's random numbers: which sequence, and how many have been used. */
export interface NativeRandom {
  seed: bigint;
  draws: bigint;
}

export interface NativeState {
  values(): Float32Array;
  serialize(precision: 'f32' | 'f16'): Uint8Array;
  serializeAsync(precision: 'f32' | 'f16'): Promise<Uint8Array>;
  info(): { fingerprint: string; tokens: number; bytes: number; hasLogits: boolean };
}

export interface NativeSession {
  evaluate(evaluation: Evaluation): Promise<EvaluationResult>;
  cancel(): void;
  snapshot(): NativeState;
  random(): NativeRandom;
  setRandom(seed: bigint, draws: bigint): void;
  hasLogits(): boolean;
  dispose(): void;
}

export interface NativeModel {
  info(): NativeModelInfo & { fingerprint: string };
  createSession(state: NativeState | undefined, seed: bigint): NativeSession;
  /** These ids are never drawn. */
  forbid(ids: Uint32Array): void;
  dispose(): Promise<void>;
}

export interface NativeLoadOptions {
  weights?: StoredType | undefined;
  groupNormEpsilon?: number | undefined;
}

export interface NativeBinding {
  Vocabulary: new (bytes: Uint8Array, offsets: Uint32Array) => NativeVocabulary;
  State: {
    deserialize(bytes: Uint8Array): NativeState;
    deserializeAsync(bytes: Uint8Array): Promise<NativeState>;
  };
  inspectModel(directory: TensorDirectory, options: NativeLoadOptions): NativeModelInfo & { loaded: boolean };
  loadModel(
    directory: TensorDirectory,
    options: NativeLoadOptions & { threads: number; maxBatch: number },
    onProgress: ((completed: number, total: number) => void) | undefined,
  ): { promise: Promise<NativeModel | undefined>; cancel: () => void };
  features(): { isa: string[]; selected: string; note: string };
}

/** Where the addon is; throws where there is none. */
export const addonPath = (): string => load.resolve(join(__dirname, '..'));

/** The addon. */
export const native = load(join(__dirname, '..')) as NativeBinding;

/** The addon's errors carry the codes and details of {@link WkvError}; everything else stays what it is. */
export function fromNative(error: unknown, details: WkvErrorDetails = {}): unknown {
  if (!isNativeError(error) || !('code' in error) || !isWkvCode(error.code)) return error;
  const found: WkvErrorDetails = { ...details };
  for (const key of ['path', 'tensor', 'expected', 'found'] as const) {
    const value: unknown = Reflect.get(error, key);
    if (typeof value === 'string') found[key] = value;
  }
  return new WkvError(error.code, error.message, found);
}

function isWkvCode(code: unknown): code is WkvErrorCode {
  return typeof code === 'string' && code.startsWith('ERR_WKV_');
}
