import { WkvError } from './errors';
import { fromNative, type NativeModel, type NativeSession } from './native';
import { checkOptions, wrongType } from './options';
import { randomSeed } from './random';
import { Session } from './session';
import { State } from './state';
import type { TokenizerLike } from './tokenizer';

/** What a model is. Dimensions come from the shapes of its tensors. */
export interface ModelInfo {
  /** 'rwkv5' */
  readonly architecture: string;
  /** '5.2' */
  readonly version: string;
  readonly layers: number;
  /** Channels of the residual stream. */
  readonly embedding: number;
  readonly heads: number;
  readonly headSize: number;
  /** Channels inside channel mixing. */
  readonly feedForward: number;
  /** Number of token ids. */
  readonly vocabulary: number;
  /** Numbers in all tensors. */
  readonly parameters: number;
  /** The type that matrices are kept in. */
  readonly weights: 'f32' | 'f16' | 'bf16';
  /** Memory that the weights take, in bytes. */
  readonly weightBytes: number;
  /** Memory that a session's state takes, in bytes, whatever the session has seen. */
  readonly stateBytes: number;
  readonly device: 'cpu';
  /** The instruction set in use: 'avx512', 'avx2', 'neon' or 'portable'. */
  readonly isa: string;
  /** Identifies the weights, whatever file they came from. */
  readonly fingerprint: string;
}

export interface SessionOptions {
  /** Where the session continues; without it, it has seen nothing. */
  state?: State;
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
  #forbids = false;

  /** @internal */
  constructor(model: NativeModel, info: ModelInfo, tokenizer: TokenizerLike | undefined) {
    this.#native = model;
    this.info = Object.freeze(info);
    this.tokenizer = tokenizer;
  }

  /**
   * A new session: `info.stateBytes` of memory, and nothing else, however much it will see.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where the state belongs to other weights; `ERR_WKV_MEMORY`;
   *   `ERR_WKV_DISPOSED`
   */
  createSession(options?: SessionOptions): Session {
    const { state } = checkOptions<SessionOptions>(options, {
      state: (name, value) => {
        if (!State.is(value)) throw wrongType(name, 'a State', value);
        return value;
      },
    });
    return this.#adopt(new Session(this, this.#create(state)));
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

  /** A session that begins where `state` is. @internal */
  fork(state: State | Promise<State>): Session {
    const begin = state instanceof Promise ? state.then((value) => this.#create(value)) : this.#create(state);
    return this.#adopt(new Session(this, begin));
  }

  /** Tells the engine, before it draws the first token, which ids mean nothing to the tokenizer. @internal */
  prepareToGenerate(): void {
    if (this.#forbids || this.tokenizer === undefined) return;
    this.#native.forbid(idsWithoutBytes(this.tokenizer, this.info.vocabulary));
    this.#forbids = true;
  }

  #create(state: State | undefined): NativeSession {
    try {
      return this.#native.createSession(state && State.unwrap(state), randomSeed());
    } catch (error) {
      throw fromNative(error);
    }
  }

  #adopt(session: Session): Session {
    const reference = new WeakRef(session);
    this.#sessions.add(reference);
    this.#collected.register(session, reference);
    return session;
  }
}

/** The ids of a model that its tokenizer does not have, or has no bytes for; the end of text is none of them. */
function idsWithoutBytes(tokenizer: TokenizerLike, vocabulary: number): Uint32Array {
  const ids: number[] = [];
  for (let id = 0; id < vocabulary; id++) {
    const known =
      id < tokenizer.size && (id === tokenizer.endOfText || tokenizer.decodeBytes([id]).length > 0);
    if (!known) ids.push(id);
  }
  if (ids.length === vocabulary) {
    throw new WkvError('ERR_WKV_TOKEN', "none of the model's ids has any bytes in its tokenizer");
  }
  return Uint32Array.from(ids);
}
