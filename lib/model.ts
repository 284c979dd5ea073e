import type { Chat } from './chat';
import { createChat, type ChatOptions } from './chat/create';
import { checkConstruction, ownConstruction } from './construction';
import { WkvError } from './errors';
import { callNative, type NativeModel, type NativeSampling, type NativeSession } from './native';
import { checkOptions, wrongType } from './options';
import type { Precision } from './quantized';
import { randomSeed } from './random';
import { toNativeSampling, type Drawing } from './sampling';
import { Session } from './session';
import { State } from './state';
import { exportValues, importValues, type StateLayoutOptions, type StateTensor } from './state-exchange';
import { classifyTokens, type TokenClasses } from './token-classes';
import type { TokenizerLike } from './tokenizer';
import { readTunedState, type TunedStateOptions } from './tuned-state';

/** What a model is. Dimensions come from the shapes of its tensors. */
export interface ModelInfo {
  readonly architecture: 'rwkv4' | 'rwkv5' | 'rwkv6' | 'rwkv7';
  /** '5.2' is Eagle, '6' Finch, '7' Goose. */
  readonly version: '4' | '5.0' | '5.1' | '5.2' | '6' | '7';
  /** Blocks of time mixing and channel mixing. */
  readonly layers: number;
  /** Channels of the residual stream. */
  readonly embedding: number;
  /** In RWKV-4 every channel of the recurrence is one, of size 1. */
  readonly heads: number;
  /** Channels of a head. */
  readonly headSize: number;
  /** Channels inside channel mixing. */
  readonly feedForward: number;
  /** Number of token ids. */
  readonly vocabulary: number;
  /** Numbers in all tensors. */
  readonly parameters: number;
  /** What matrices are kept in. */
  readonly weights: Precision;
  /** Memory that the weights take, in bytes. */
  readonly weightBytes: number;
  /**
   * Memory that a session's state takes, in bytes, whatever the session has seen; with `statePrecision: 'f16'` between
   * calls.
   */
  readonly stateBytes: number;
  /** Where it is: the processor, or a GPU by its number. */
  readonly device: 'cpu' | `cuda:${number}`;
  /**
   * On a GPU: how many states of sessions fit into what the weights left free of its memory when they had been loaded.
   * A session has one there from its first call on, and during a call a second, to which an abort goes back (and more
   * while a generation holds text back). With `statePrecision: 'f16'` states are packed between calls and take half, as
   * long as all packed ones take no more than half of what the weights left; others are packed on the host.
   */
  readonly sessionsThatFit?: number;
  /**
   * The instruction set in use: 'avx512vnni', 'avx512', 'avxvnni', 'avx2', 'i8mm', 'dotprod', 'neon' or 'portable'.
   * Results do not depend on it. On a GPU: its name and compute capability.
   */
  readonly isa: string;
  /** Identifies the weights, whatever file they came from: 32 hexadecimal digits. */
  readonly fingerprint: string;
  /**
   * What the model's file says of how conversations are written (`tokenizer.chat_template` of a GGUF,
   * `chat_template.jinja` or `tokenizer_config.json` of a directory), as it is: a name or a program for a template engine. `createChat` takes the
   * template that is like it.
   */
  readonly chatTemplate?: string;
}

/** What a model has done since it was loaded. */
export interface ModelStatistics {
  /** Passes over the weights. */
  readonly steps: number;
  /** Tokens evaluated in them. */
  readonly tokens: number;
  /** Sessions that took part, summed over the steps: `sessions / steps` is the mean batch. */
  readonly sessions: number;
  /** Sessions in the largest batch. */
  readonly largestBatch: number;
}

export interface SessionOptions {
  /** Where the session continues; without it, it has seen nothing. The state may be of any file of the same weights. */
  state?: State | undefined;
}

/** A loaded model. Made by {@link loadModel}; it holds the weights until it is disposed. */
export class Model {
  readonly info: ModelInfo;
  /** What turns text into tokens, if the model has a tokenizer. */
  readonly tokenizer: TokenizerLike | undefined;
  readonly #native: NativeModel;
  readonly #sessions = new Set<WeakRef<Session>>();
  readonly #collected = new FinalizationRegistry<WeakRef<Session>>((session) => {
    this.#sessions.delete(session);
  });
  #disposal: Promise<void> | undefined;
  #classes: TokenClasses | undefined;
  readonly #packsStates: boolean;

  /** Made by {@link loadModel}. */
  private constructor(
    own: typeof ownConstruction,
    model: NativeModel,
    info: ModelInfo,
    tokenizer: TokenizerLike | undefined,
    packsStates: boolean,
  ) {
    checkConstruction(own, 'Model', 'loadModel(path) loads models');
    this.#native = model;
    this.#packsStates = packsStates;
    this.info = Object.freeze(info);
    this.tokenizer = tokenizer;
  }

  /** @internal */
  static of(
    model: NativeModel,
    info: ModelInfo,
    tokenizer: TokenizerLike | undefined,
    packsStates: boolean,
  ): Model {
    return new Model(ownConstruction, model, info, tokenizer, packsStates);
  }

  /** Whether sessions keep their states as f16 between calls. @internal */
  get packsStates(): boolean {
    return this.#packsStates;
  }

  /**
   * A new session. From its first token on it takes `info.stateBytes` of memory, and nothing else, however much it will
   * see; until then all of them share one state.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where the state belongs to other weights; `ERR_WKV_MEMORY`;
   *   `ERR_WKV_DISPOSED`
   * @throws {TypeError} for wrong options
   */
  createSession(options?: SessionOptions): Session {
    const { state } = checkOptions<SessionOptions>(options, {
      state: (name, value) => {
        if (!State.is(value)) throw wrongType(name, 'a State', value);
        return value;
      },
    });
    return this.#adopt(Session.of(this, this.createNative(state)));
  }

  /**
   * A conversation with the model, in a session of its own unless one is given. Nothing is computed before something
   * is said.
   *
   * @throws {WkvError} `ERR_WKV_TOKEN` for a model without a tokenizer; `ERR_WKV_STATE` where `saved` is damaged, or of
   *   other weights; `ERR_WKV_MEMORY`, `ERR_WKV_DISPOSED`
   * @throws {TypeError} for wrong options
   */
  createChat(options?: ChatOptions): Chat {
    return createChat(this, options);
  }

  /**
   * A state of this model as another program lays it out: for 'rwkv.cpp' and 'web-rwkv' (and ai00) as one array, for
   * 'ChatRWKV' as its list of tensors. The logits after the last token, and how many tokens there were, stay behind.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where the state belongs to other weights, or web-rwkv has no layout for the model's
   *   heads; `ERR_WKV_MEMORY`; `ERR_WKV_DEVICE` where the numbers are on a GPU that was lost
   * @throws {TypeError} for wrong arguments
   */
  exportState(state: State, options: { layout: 'ChatRWKV' }): StateTensor[];
  exportState(state: State, options: { layout: 'rwkv.cpp' | 'web-rwkv' }): Float32Array;
  exportState(state: State, options: StateLayoutOptions): Float32Array | StateTensor[];
  exportState(state: State, options: StateLayoutOptions): Float32Array | StateTensor[] {
    if (!State.is(state)) throw wrongType('state', 'a State', state);
    callNative(() => {
      this.#native.requireOwnState(State.unwrap(state));
    });
    return exportValues(state.values(), this.info, options);
  }

  /**
   * The state that another program has of this model; {@link Model.exportState} gives the same. How many tokens it has
   * seen, and the logits after the last of them, are not known: a session that begins with it has to evaluate at least
   * one token before it generates. Whether it is of the same weights, nobody can tell.
   *
   * @throws {WkvError} `ERR_WKV_STATE` for a state of another size, with a number that is not finite, or in a layout that
   *   the model does not have; `ERR_WKV_MEMORY`, `ERR_WKV_DISPOSED`
   * @throws {TypeError} for wrong arguments
   */
  importState(values: readonly StateTensor[], options: { layout: 'ChatRWKV' }): State;
  importState(values: Float32Array, options: { layout: 'rwkv.cpp' | 'web-rwkv' }): State;
  importState(values: Float32Array | readonly StateTensor[], options: StateLayoutOptions): State;
  importState(values: Float32Array | readonly StateTensor[], options: StateLayoutOptions): State {
    return this.#stateOf(importValues(values, this.info, options));
  }

  /**
   * The state that a file of tuned states begins sessions with: a `.pth`, `.safetensors` or `.st` that has nothing but
   * `blocks.N.att.time_state` [heads, headSize, headSize] for each layer. A session that begins with it has seen nothing.
   *
   * @throws {WkvError} `ERR_WKV_STATE` or `ERR_WKV_SHAPE` for a state of another model, or no tuned state;
   *   `ERR_WKV_FORMAT` or `ERR_WKV_UNSUPPORTED` for a file that is damaged or not supported, or a model of RWKV-4, whose
   *   states are not tuned; `ERR_WKV_MEMORY`, `ERR_WKV_DISPOSED`
   * @throws {TypeError} for wrong arguments
   */
  async loadTunedState(path: string | URL, options?: TunedStateOptions): Promise<State> {
    // Before the file is read, which may be at fault as well.
    if (this.#disposal !== undefined) throw new WkvError('ERR_WKV_DISPOSED', 'the model has been disposed');
    return this.#stateOf(await readTunedState(path, this.info, options));
  }

  /**
   * Frees the weights. Sessions of the model are disposed with it, their pending calls reject with
   * `ERR_WKV_DISPOSED`. Resolves when the memory is free; calling it again does nothing more.
   */
  dispose(): Promise<void> {
    if (this.#disposal === undefined) {
      for (const session of this.#sessions) session.deref()?.dispose();
      this.#sessions.clear();
      this.#disposal = this.#native.dispose();
    }
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** A session that begins where `state` is, with its random numbers or those of the seed. @internal */
  fork(state: State | Promise<State>, seed: bigint | undefined): Session {
    const begin = State.is(state) ? this.createNative(state, seed) : { state, seed };
    return this.#adopt(Session.of(this, begin));
  }

  /** What the model has done so far; all zero once it is disposed. */
  get statistics(): ModelStatistics {
    const { steps = 0, tokens = 0, sessions = 0, most = 0 } = this.#native.statistics();
    return { steps, tokens, sessions, largestBatch: most };
  }

  /** Sampling options completed with what the tokenizer says of the tokens. @internal */
  sampling(drawing: Drawing, logprobs: number): NativeSampling {
    if (this.tokenizer === undefined) return toNativeSampling(drawing, { logprobs });
    this.#classes ??= classifyTokens(this.tokenizer, this.info.vocabulary);
    const { withoutBytes, digitsAndSpace, singleBytes } = this.#classes;
    return toNativeSampling(
      { penaltyExempt: digitsAndSpace, ...drawing },
      { logprobs, forbidden: withoutBytes, ...(singleBytes ? { penalty: 0 } : {}) },
    );
  }

  /** What a session is to the addon. @internal */
  createNative(state: State | undefined, seed?: bigint): NativeSession {
    const native = callNative(() => this.#native.createSession(state && State.unwrap(state), randomSeed()));
    if (seed !== undefined) native.setRandom(seed, 0n);
    return native;
  }

  #stateOf(values: Float32Array): State {
    return State.of(callNative(() => this.#native.importState(values, randomSeed())));
  }

  #adopt(session: Session): Session {
    const reference = new WeakRef(session);
    this.#sessions.add(reference);
    this.#collected.register(session, reference);
    return session;
  }
}
