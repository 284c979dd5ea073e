import { onAbort } from './abort';
import { checkConstruction, ownConstruction } from './construction';
import { WkvError } from './errors';
import { ProgressReports, type EvaluateProgress } from './evaluate-progress';
import {
  checkGenerateOptions,
  completionOf,
  generate,
  nothingSeen,
  withLast,
  type Completion,
  type GeneratedPart,
  type GenerateOptions,
} from './generate';
import { iterateHeld, type Hold } from './generation/iterator';
import type { Model } from './model';
import {
  callNative,
  fromNative,
  output,
  type EvaluationRequest,
  type EvaluationResult,
  type NativeSampling,
  type NativeSession,
} from './native';
import { abortSignal, callback, checkOptions, oneOf, outOfRange, seed as checkSeed } from './options';
import type { Drawing } from './sampling';
import { SessionQueue } from './session-queue';
import { State } from './state';
import { copyTokens } from './token-ids';
import { usesOwn, type TokenizerLike } from './tokenizer';
import { beginAfterThisTurn } from './turn';

/** Text, for a model with a tokenizer, or token ids. */
export type Input = string | Uint32Array | readonly number[];

export interface EvaluateOptions {
  /**
   * Which logits to return: those after the last token [vocabulary] (the default), after every token
   * [tokens * vocabulary], or none.
   */
  logits?: 'last' | 'all' | 'none' | undefined;
  /** Ends the call, which then rejects with the signal's reason and leaves the session as it was. */
  signal?: AbortSignal | undefined;
  /**
   * Is called every now and then while the input is evaluated: about every 100 ms, where it takes that long. What it
   * throws ends the call, which then rejects with that and leaves the session as it was.
   */
  onProgress?: ((progress: EvaluateProgress) => void) | undefined;
}

export interface ForkOptions {
  /**
   * Starts the branch's random numbers anew; without it both branches draw the same ones. A number is an integer from 0
   * to 2^53 - 1, a bigint is below 2^64.
   */
  seed?: number | bigint | undefined;
}

/** What a fork waits for: the state of its parent when that has done what comes before, and its own seed. */
interface Beginning {
  readonly state: Promise<State>;
  readonly seed: bigint | undefined;
}

const maxLogitBytes = 2 ** 30;

/** Longer texts, in UTF-16 units, are tokenized on another thread; this many take about 0.1 ms. */
const maxLengthOnThisThread = 8192;

/**
 * A conversation with a model: a state of fixed size that every token updates. A session does one thing at a
 * time; calls wait for each other in their order. Sessions of a model are independent and run together.
 */
export class Session {
  readonly #model: Model;
  readonly #queue = new SessionQueue();
  #native: NativeSession | undefined;
  /** Why a fork that waited for its parent has no native session. */
  #failure: unknown;
  /** Of a fork that waited for its parent, until it is called: forks of it begin there, too. */
  #beginning: Beginning | undefined;
  #disposed = false;
  /** Aborts what waits for a caller's function; made when something does. */
  #disposal: AbortController | undefined;
  #revision = 0;

  /** Made by `model.createSession()` and `session.fork()`. */
  private constructor(own: typeof ownConstruction, model: Model, begin: NativeSession | Beginning) {
    checkConstruction(own, 'Session', 'model.createSession() makes sessions');
    this.#model = model;
    if (isBeginning(begin)) {
      this.#beginning = begin;
      this.#queue
        .run(async () => {
          const state = await begin.state;
          if (!this.#disposed) this.#native = model.createNative(state, begin.seed);
        })
        .catch((error: unknown) => {
          this.#failure = error;
        });
    } else {
      this.#native = begin;
    }
  }

  /** @internal */
  static of(model: Model, begin: NativeSession | Beginning): Session {
    return new Session(ownConstruction, model, begin);
  }

  /** @internal */
  static is(value: unknown): value is Session {
    return typeof value === 'object' && value !== null && #model in value;
  }

  /** The model that the session belongs to. */
  get model(): Model {
    return this.#model;
  }

  /**
   * What the session remembers now: a snapshot that later calls do not change.
   *
   * @throws {WkvError} `ERR_WKV_BUSY` while a call is pending, `ERR_WKV_DISPOSED`
   */
  get state(): State {
    this.#requireUsable();
    this.#requireIdle();
    return this.snapshot();
  }

  /**
   * The seed of the session's random numbers, 0 to 2^64 - 1: the one that was given last, or one that was drawn when the
   * session began.
   *
   * @throws {WkvError} `ERR_WKV_BUSY` while a call is pending, but not between the parts of a generation;
   *   `ERR_WKV_DISPOSED`
   */
  get seed(): bigint {
    if (this.#disposed) throw disposed();
    if (!this.#queue.isAtIteration) this.#requireIdle();
    return callNative(() => this.native().random()).seed;
  }

  /**
   * Evaluates the input, and returns logits. All or nothing: if it fails or is aborted, the session is as it was.
   * Nothing is put in front of the input; of an empty one, it returns the last logits again (with 'all', none). Where
   * numbers overflow, as with damaged weights, logits are not finite; what draws from them refuses.
   *
   * @throws {WkvError} `ERR_WKV_TOKEN` for ids outside the model, or text without a tokenizer; `ERR_WKV_STATE` for the last
   *   logits of a session that has seen nothing; `ERR_WKV_BUSY` while a generation is iterated, `ERR_WKV_DISPOSED`,
   *   `ERR_WKV_MEMORY`, `ERR_WKV_DEVICE` where a GPU was lost
   * @throws {TypeError} for wrong options, or an input that is neither text nor ids
   * @throws {RangeError} `ERR_OUT_OF_RANGE` where 'all' logits would take more than 1 GiB, or an id is no integer
   */
  evaluate(input: Input, options: EvaluateOptions & { logits: 'none' }): Promise<undefined>;
  evaluate(
    input: Input,
    options?: EvaluateOptions & { logits?: 'last' | 'all' | undefined },
  ): Promise<Float32Array>;
  evaluate(input: Input, options?: EvaluateOptions): Promise<Float32Array | undefined>;
  async evaluate(input: Input, options?: EvaluateOptions): Promise<Float32Array | undefined> {
    const {
      logits = 'last',
      signal,
      onProgress,
    } = checkOptions<EvaluateOptions>(options, {
      logits: oneOf('last', 'all', 'none'),
      signal: abortSignal,
      onProgress: callback,
    });
    const encoded = this.tokens(input, 'input');
    this.#requireUsable();
    const { values } = await this.#enqueue(signal, async () => {
      const tokens = await encoded;
      if (logits === 'all') this.#requireFewLogits(tokens.length);
      if (tokens.length === 0 && logits === 'last' && !this.native().hasLogits()) throw nothingSeen();
      return this.submit({ tokens, output: output[logits], pack: true }, signal, onProgress);
    });
    if (logits === 'none') return undefined;
    return values ?? new Float32Array(0);
  }

  /**
   * Evaluates the tokens, and returns the natural logarithm of the probability of each, given all before it: a
   * Float32Array [tokens]. In a session that has seen nothing the first has none: its value is NaN. All or nothing, like
   * {@link Session.evaluate}.
   *
   * @throws as {@link Session.evaluate}, but for an empty input: of that it returns an empty array
   */
  async score(input: Input, options?: Omit<EvaluateOptions, 'logits'>): Promise<Float32Array> {
    const { signal, onProgress } = checkOptions<Omit<EvaluateOptions, 'logits'>>(options, {
      signal: abortSignal,
      onProgress: callback,
    });
    const encoded = this.tokens(input, 'input');
    this.#requireUsable();
    const { values } = await this.#enqueue(signal, async () =>
      this.submit({ tokens: await encoded, output: output.scores, pack: true }, signal, onProgress),
    );
    return values ?? new Float32Array(0);
  }

  /**
   * Generates text: `for await (const part of session.generate('Once'))`. Options are checked at the call, work begins
   * at the first `next()`, and nothing runs ahead of the loop. However the loop ends (a stop, `maxTokens`, `break`, an
   * exception, an abort), the session is then in the state after the text that was delivered, sampler included; where
   * that ends inside a token and a tokenizer of the caller's own cannot encode the beginning of the token, in the state
   * after the token before. While it is iterated, other calls on the session are `ERR_WKV_BUSY`; from the moment of an
   * abort on, or of the iterator's `return()`, which a `break` calls, they wait for its end instead, which comes even if
   * nobody asks for another part.
   *
   * @throws {TypeError} or {RangeError} for wrong options
   * @throws {WkvError} `ERR_WKV_TOKEN` for ids outside the model, or text or `stop` without a tokenizer. At a `next()`:
   *   `ERR_WKV_STATE` for an empty prompt to a session that has seen nothing, or where no token can be drawn;
   *   `ERR_WKV_BUSY`, `ERR_WKV_DISPOSED`, `ERR_WKV_MEMORY`, `ERR_WKV_DEVICE` where a GPU was lost
   */
  generate(prompt: Input, options?: GenerateOptions): AsyncGenerator<GeneratedPart, void, undefined> {
    const checked = checkGenerateOptions(options, this.#model);
    const tokens = this.tokens(prompt, 'prompt');
    return iterateHeld((left) => ({
      hold: this.hold(checked.signal, true),
      parts: generate(this, tokens, { ...checked, left }),
      signal: checked.signal,
    }));
  }

  /**
   * Generates like {@link Session.generate}, and returns everything at once. Like {@link Session.evaluate} it waits for
   * the calls before it, and is all or nothing: if it fails or is aborted, the session is as it was.
   *
   * @throws as {@link Session.generate}; everything rejects
   */
  async complete(prompt: Input, options?: GenerateOptions): Promise<Completion> {
    const checked = checkGenerateOptions(options, this.#model);
    const tokens = this.tokens(prompt, 'prompt');
    this.#requireUsable();
    return this.#enqueue(checked.signal, async () => {
      const before = this.snapshot();
      try {
        const parts: GeneratedPart[] = [];
        for await (const part of withLast(generate(this, tokens, checked))) parts.push(part);
        // The end of a generation is not called off on the way.
        checked.signal?.throwIfAborted();
        return completionOf(parts, this.native().random().seed);
      } catch (error) {
        // What was generated nobody has got.
        if (!this.#disposed) this.restore(before);
        throw error;
      }
    });
  }

  /**
   * An independent copy: of the state, the last logits and the random numbers. Returns at once; it is queued behind
   * the session's pending calls, and the branch's calls wait for it. Until its turn has come, a call on the branch counts as
   * pending.
   *
   * @throws {WkvError} `ERR_WKV_BUSY` while a generation is iterated, `ERR_WKV_DISPOSED`, `ERR_WKV_MEMORY`
   * @throws {TypeError} or {RangeError} for a wrong seed
   */
  fork(options?: ForkOptions): Session {
    // The seed that a fork was given counts for forks of it, too: the state that these wait for is that of its parent.
    const { seed = this.#beginning?.seed } = checkOptions<{ seed?: bigint }>(options, { seed: checkSeed });
    this.#requireUsable();
    if (this.#queue.isIdle) return this.#model.fork(this.snapshot(), seed);
    const state =
      this.#beginning?.state ??
      this.#queue.runReading(() => {
        if (this.#disposed) throw disposed('the session that this one is a fork of');
        return Promise.resolve(this.snapshot());
      });
    return this.#model.fork(state, seed);
  }

  /** Another number whenever the state may have become another one. @internal */
  get revision(): number {
    return this.#revision;
  }

  /** @internal */
  get tokenizer(): TokenizerLike | undefined {
    return this.#model.tokenizer;
  }

  /** Whether the session's state has to be told that a generation is over. @internal */
  get packsStates(): boolean {
    return this.#model.packsStates;
  }

  /** @internal */
  get isDisposed(): boolean {
    return this.#disposed;
  }

  /** Whether no call is pending. @internal */
  get isIdle(): boolean {
    return this.#queue.isIdle;
  }

  /** What the session remembers now, for what has it for itself. @internal */
  snapshot(): State {
    const native = this.native();
    return State.of(callNative(() => native.snapshot()));
  }

  /** Has the session continue from a state of its model, for what has it for itself. @internal */
  restore(state: State): void {
    const before = this.native();
    this.#native = this.#model.createNative(state);
    this.#revision += 1;
    before.dispose();
  }

  /**
   * Takes a turn like any call, which lasts until the release. Calls that come meanwhile wait for that, or are
   * `ERR_WKV_BUSY` where it depends on somebody who iterates; once that is left or aborted it no longer does. @internal
   */
  hold(signal: AbortSignal | undefined, isIterated: boolean): Hold {
    this.#requireUsable();
    this.#change(signal);
    return this.#queue.hold(signal, isIterated);
  }

  /** Frees the state. Pending calls reject with `ERR_WKV_DISPOSED`, and so do forks that wait for them; others live on. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#beginning = undefined;
    this.#native?.dispose();
    this.#disposal?.abort(disposed());
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The ids of an input that messages call `name`, checked; of a long text they come later. @internal */
  tokens(input: Input, name: string): Uint32Array | Promise<Uint32Array> {
    const { tokenizer, info } = this.#model;
    if (typeof input !== 'string') {
      return copyTokens(input, info.vocabulary, name, 'a string, a Uint32Array or an array of numbers');
    }
    if (tokenizer === undefined) {
      throw new WkvError(
        'ERR_WKV_TOKEN',
        'the model has no tokenizer: give token ids, or loadModel the option tokenizer',
      );
    }
    if (input.length > maxLengthOnThisThread && usesOwn('encode', tokenizer)) {
      const tokens = tokenizer.encodeAsync(input).then((ids) => idsOf(ids, tokenizer, info.vocabulary));
      // Whoever waits for the tokens hears of it; the call may fail for another reason before.
      tokens.catch(() => undefined);
      return tokens;
    }
    return idsOf(tokenizer.encode(input), tokenizer, info.vocabulary);
  }

  /** @throws where the tokenizer has no tokens of just these bytes, or none that the model has @internal */
  encode(bytes: Uint8Array): Uint32Array {
    return copyTokens(this.tokenizer?.encode(bytes) ?? [], this.#model.info.vocabulary);
  }

  /** Completes the options of a generation with what the model knows of its tokens. @internal */
  sampling(drawing: Drawing, logprobs: number): NativeSampling {
    return this.#model.sampling(drawing, logprobs);
  }

  /** Is aborted when the session is disposed. @internal */
  disposal(): AbortSignal {
    this.#disposal ??= new AbortController();
    if (this.#disposed) this.#disposal.abort(disposed());
    return this.#disposal.signal;
  }

  /** @throws ERR_WKV_BUSY */
  #requireIdle(): void {
    if (!this.#queue.isIdle) throw new WkvError('ERR_WKV_BUSY', 'a call on the session is pending');
  }

  #requireFewLogits(tokens: number): void {
    const max = Math.floor(maxLogitBytes / 4 / this.#model.info.vocabulary);
    if (tokens <= max) return;
    throw outOfRange(
      "the input for logits: 'all'",
      `at most ${max} tokens (1 GiB of logits); score() gives probabilities without that`,
      tokens,
    );
  }

  /** @throws ERR_WKV_DISPOSED or ERR_WKV_BUSY */
  #requireUsable(): void {
    if (this.#disposed) throw disposed();
    if (this.#queue.isIterated) {
      throw new WkvError(
        'ERR_WKV_BUSY',
        "the session's generation is being iterated: iterate to its end, or leave the loop, or use a fork made before",
      );
    }
  }

  /** A fork whose parent was disposed before its turn came never has one. @internal */
  native(): NativeSession {
    if (this.#disposed) throw disposed();
    if (this.#native === undefined) throw this.#failure;
    return this.#native;
  }

  /** Runs a call when its turn has come. One that is aborted before rejects at once, and is passed over then. */
  #enqueue<Result>(signal: AbortSignal | undefined, call: () => Promise<Result>): Promise<Result> {
    this.#change(signal);
    return this.#queue.run(call, signal);
  }

  /** Forks from now on wait for the call that begins, unless that is aborted already. */
  #change(signal: AbortSignal | undefined): void {
    if (signal?.aborted !== true) this.#beginning = undefined;
  }

  /** One call of the engine; only while nothing else is on its way. @internal */
  async submit(
    evaluation: EvaluationRequest,
    signal?: AbortSignal,
    onProgress?: (progress: EvaluateProgress) => void,
  ): Promise<EvaluationResult> {
    const native = this.native();
    signal?.throwIfAborted();
    const total = evaluation.tokens.length;
    const reports = onProgress && total > 1 ? new ProgressReports(native, total, onProgress) : undefined;
    const isOver = onAbort(signal, () => {
      reports?.stop();
      native.cancel();
    });
    try {
      // The addon would look for what is not given in Object.prototype.
      const rest = { output: output.none, generated: false, draw: false, mask: undefined, pack: false };
      const request = { ...rest, ...evaluation };
      const pack = request.pack && this.packsStates;
      // These may fail when the tokens have been evaluated: the draw after a prompt, and packing after a call.
      const mayFail = !request.generated && (request.draw || pack);
      const abandonable = signal !== undefined || request.tokens.length > 1 || mayFail;
      if (request.generated) this.#revision += 1;
      const pending = native.evaluate({ ...request, pack, abandonable });
      beginAfterThisTurn();
      const result = await pending;
      // Others leave the session as it was, where they are called off or fail.
      if (!request.generated && !result.cancelled) this.#revision += 1;
      this.native();
      if (result.cancelled) {
        signal?.throwIfAborted();
        if (reports?.failure !== undefined) throw reports.failure.error;
        throw disposed();
      }
      return result;
    } catch (error) {
      throw fromNative(error);
    } finally {
      isOver();
      reports?.stop();
    }
  }
}

/** What a tokenizer, which may be a caller's or of another model, made of a text. */
function idsOf(tokens: unknown, { size }: TokenizerLike, vocabulary: number): Uint32Array {
  try {
    return copyTokens(tokens, vocabulary);
  } catch (cause) {
    if (!(cause instanceof WkvError) || size <= vocabulary) throw cause;
    const { code, message, expected, found } = cause;
    const sizes = `the tokenizer has ${size} ids, the model only ${vocabulary}`;
    throw new WkvError(code, `${message}: ${sizes}`, { expected, found, cause });
  }
}

function disposed(what = 'the session'): WkvError {
  return new WkvError('ERR_WKV_DISPOSED', `${what} has been disposed`);
}

/** Whether a session waits for its parent; its own keys alone tell, whatever Object.prototype has. */
function isBeginning(begin: NativeSession | Beginning): begin is Beginning {
  return Object.hasOwn(begin, 'state');
}
