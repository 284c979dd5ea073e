import { checkConstruction, ownConstruction } from './construction';
import { awaitNative, callNative, native, type NativeState } from './native';
import { checkOptions, oneOf, uint8Array } from './options';

/** The number formats that a state can be saved in. */
export type StatePrecision = 'f32' | 'f16';

export interface SerializeOptions {
  /** 'f32' (the default) is exact; 'f16' takes half the space. The last logits are always exact. */
  precision?: StatePrecision | undefined;
}

/**
 * What a session remembers, as an immutable value: the recurrent state, the logits after the last token, how many
 * tokens it has seen, and where its random numbers are. It fits any file of the same weights, whatever its
 * format and whatever precision the model is loaded in.
 */
export class State {
  readonly #native: NativeState;

  /** States are made by sessions and by {@link State.deserialize}. */
  private constructor(own: typeof ownConstruction, state: NativeState) {
    checkConstruction(own, 'State', 'session.state and State.deserialize(bytes) give states');
    this.#native = state;
  }

  /** @internal */
  static of(state: NativeState): State {
    return new State(ownConstruction, state);
  }

  /** @internal */
  static unwrap(state: State): NativeState {
    return state.#native;
  }

  /** @internal */
  static is(value: unknown): value is State {
    return typeof value === 'object' && value !== null && #native in value;
  }

  /**
   * The state that {@link State.serialize} made bytes of.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where the bytes are damaged, truncated, of another version, or no state;
   *   `ERR_WKV_MEMORY`
   * @throws {TypeError} where they are no Uint8Array
   */
  static deserialize(bytes: Uint8Array): State {
    const checked = uint8Array('bytes', bytes);
    return new State(
      ownConstruction,
      callNative(() => native.State.deserialize(checked)),
    );
  }

  /**
   * Like {@link State.deserialize}, on another thread. The bytes are copied before this returns.
   *
   * @throws as {@link State.deserialize}; everything rejects
   */
  static async deserializeAsync(bytes: Uint8Array): Promise<State> {
    const checked = uint8Array('bytes', bytes);
    return new State(ownConstruction, await awaitNative(() => native.State.deserializeAsync(checked)));
  }

  /** Identifies the weights that the state belongs to; equal to `model.info.fingerprint`. */
  get fingerprint(): string {
    return this.#native.info().fingerprint;
  }

  /** How many tokens the session had seen. */
  get tokens(): number {
    return this.#native.info().tokens;
  }

  /**
   * A copy of the numbers: per layer `att_x` [embedding] and `ffn_x` [embedding], the token shift's memory, then
   * the recurrence: for RWKV-5 and 6 `wkv` [head][key channel][value channel], for RWKV-7 `wkv` [head][value
   * channel][key channel], for RWKV-4 `aa`, `bb` and `pp` [channel].
   *
   * @throws {WkvError} `ERR_WKV_MEMORY`; `ERR_WKV_DEVICE` where they are on a GPU that was lost
   */
  values(): Float32Array {
    return callNative(() => this.#native.values());
  }

  /**
   * The state as bytes, in the format of docs/state-format.md, with a checksum: they can be kept in a file or a
   * database, and be sent elsewhere.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where a number is NaN or infinite, which no bytes may hold; `ERR_WKV_MEMORY`;
   *   `ERR_WKV_DEVICE` where the numbers are on a GPU that was lost
   * @throws {TypeError} for wrong options
   */
  serialize(options?: SerializeOptions): Uint8Array {
    const precision = checkPrecision(options);
    return callNative(() => this.#native.serialize(precision));
  }

  /**
   * Like {@link State.serialize}, on another thread.
   *
   * @throws as {@link State.serialize}; everything rejects
   */
  async serializeAsync(options?: SerializeOptions): Promise<Uint8Array> {
    const precision = checkPrecision(options);
    return await awaitNative(() => this.#native.serializeAsync(precision));
  }
}

function checkPrecision(options: SerializeOptions | undefined): StatePrecision {
  return checkOptions<SerializeOptions>(options, { precision: oneOf('f32', 'f16') }).precision ?? 'f32';
}
