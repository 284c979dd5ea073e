import { bytesOf } from '../decoder';
import type { EvaluateProgress } from '../evaluate-progress';
import type { Delivered, Delivery } from './delivery';
import { callNative } from '../native';
import type {
  EvaluationRequest,
  EvaluationResult,
  NativeDrawn,
  NativeSampling,
  NativeSession,
} from '../native';
import type { Drawing } from '../sampling';
import type { TokenizerLike } from '../tokenizer';

/** What a generation needs of its session, which does nothing else meanwhile. */
export interface GenerationAccess {
  readonly tokenizer: TokenizerLike | undefined;
  /** @throws where the tokenizer has no tokens of just these bytes, or none that the model has */
  encode(bytes: Uint8Array): Uint32Array;
  native(): NativeSession;
  readonly isDisposed: boolean;
  /** Is aborted when the session is disposed. */
  disposal(): AbortSignal;
  /** Whether the session's state has to be told that the generation is over. */
  readonly packsStates: boolean;
  /** Completes the options with what the model knows of its tokens. */
  sampling(drawing: Drawing, logprobs: number): NativeSampling;
  submit(
    evaluation: EvaluationRequest,
    signal?: AbortSignal,
    onProgress?: (progress: EvaluateProgress) => void,
  ): Promise<EvaluationResult>;
}

/**
 * The tokens of a generation that its session has evaluated, and how to get from there to those that have been
 * delivered. While text is held back the session keeps a state from before it: from there the tokens that were
 * delivered are evaluated again, which gives the same bits.
 */
export class EvaluatedTokens {
  readonly #session: GenerationAccess;
  readonly #delivery: Delivery;
  /** States are kept so many tokens apart at least, which bounds how many have to be evaluated again. */
  readonly #apart: number;
  /** Tokens from number `#first` on; what is before them will not be needed again. */
  #tokens: number[] = [];
  #first = 0;
  /** How many tokens the session has evaluated. */
  #count = 0;
  /** How many random numbers it had used before: each token that it evaluates uses one. */
  readonly #drawsBefore: bigint;
  /** The numbers of tokens that the session had evaluated when states were kept. */
  #kept: number[] = [];
  #settling: Promise<Uint32Array> | undefined;

  constructor(session: GenerationAccess, delivery: Delivery, longestHeld: number) {
    this.#session = session;
    this.#delivery = delivery;
    this.#apart = Math.max(16, longestHeld);
    this.#drawsBefore = session.native().random().draws;
  }

  push(token: number, details: NativeDrawn): Delivered | undefined {
    this.#tokens.push(token);
    const { tokenizer } = this.#session;
    // Without a tokenizer each token is as good as a character.
    const bytes = tokenizer === undefined ? Uint8Array.of(0) : bytesOf(tokenizer, [token]);
    return this.#delivery.push({ id: token, bytes, details });
  }

  /** Evaluates the token that was pushed last, and draws the next, of those that the mask allows. */
  async evaluate(mask?: Uint32Array): Promise<NativeDrawn> {
    const token = this.#tokens.at(-1) ?? 0;
    this.#keep();
    const evaluation = { tokens: Uint32Array.of(token), generated: true, draw: true, mask };
    const drawn = await this.#session.submit(evaluation).catch((error: unknown) => {
      // Where it was the draw that failed, the token has been evaluated.
      if (!this.#session.isDisposed) {
        const { draws } = this.#session.native().random();
        this.#count = Number(BigInt.asUintN(64, draws - this.#drawsBefore));
      }
      throw error;
    });
    this.#count += 1;
    return drawn;
  }

  /** Keeps states so that there is always one before which no more has been evaluated than has been delivered. */
  #keep(): void {
    const native = this.#session.native();
    const { complete } = this.#delivery;
    const superseded =
      complete >= this.#count ? this.#kept.length : this.#kept.findLastIndex((n) => n <= complete);
    if (superseded > 0) {
      native.forget(superseded);
      this.#kept.splice(0, superseded);
    }
    const last = this.#kept.at(-1);
    const needed = complete <= this.#count && (last === undefined || this.#count - last >= this.#apart);
    if (needed) {
      callNative(() => {
        native.keep();
      });
      this.#kept.push(this.#count);
    }
    const needless = Math.min(complete, this.#kept[0] ?? this.#count) - this.#first;
    this.#tokens.splice(0, needless);
    this.#first += needless;
  }

  /**
   * Brings the session to where the delivered text is: the state after the last token that is out completely, plus the
   * encoding of what is out of the next; without that where it cannot be encoded. Returns that encoding. Done once, and
   * told once: then nothing more may be pushed.
   */
  async settle(): Promise<Uint32Array> {
    if (this.#settling !== undefined) {
      await this.#settling;
      return new Uint32Array(0);
    }
    this.#settling = this.#settle();
    return this.#settling;
  }

  async #settle(): Promise<Uint32Array> {
    const { complete, partial } = this.#delivery;
    const rest = this.#encode(partial);
    let from = this.#count;
    if (from > complete) {
      this.#session.native().goBack();
      from = this.#kept[0] ?? from;
    } else {
      this.#session.native().forget(this.#kept.length);
    }
    this.#kept = [];
    const whole = this.#tokens.slice(from - this.#first, complete - this.#first);
    const tokens = Uint32Array.of(...whole, ...rest);
    if (tokens.length > 0 || this.#session.packsStates) {
      await this.#session.submit({ tokens, generated: true, pack: true });
    }
    this.#count = complete + rest.length;
    return rest;
  }

  /** The tokens of a part of a token: none where the tokenizer, which may be a caller's, has none for just this part. */
  #encode(bytes: Uint8Array): Uint32Array {
    if (bytes.length === 0) return new Uint32Array(0);
    try {
      return this.#session.encode(bytes);
    } catch {
      return new Uint32Array(0);
    }
  }
}
