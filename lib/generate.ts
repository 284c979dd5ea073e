import { Delivery, type Delivered } from './generation/delivery';
import { WkvError } from './errors';
import type { EvaluateProgress } from './evaluate-progress';
import type { NativeDrawn } from './native';
import {
  abortSignal,
  callback,
  checkOptions,
  integer,
  oneOf,
  seed as checkSeed,
  withoutPrototype,
  wrongType,
} from './options';
import { samplingChecks, type Drawing, type SamplingOptions } from './sampling';
import { stopBytes, StopStrings } from './generation/stop-strings';
import { EvaluatedTokens, type GenerationAccess } from './generation/evaluated-tokens';
import { masksOf, tokenMaskFunction, type MaskAfter, type TokenMaskFunction } from './generation/token-mask';
import { copyTokens } from './token-ids';
import type { TokenizerLike } from './tokenizer';

export interface GenerateOptions extends SamplingOptions {
  /** At most so many tokens are generated, 0 to 2^53 - 1; 256 by default. */
  maxTokens?: number | undefined;
  /**
   * Strings of 1 to 4,096 bytes of UTF-8 that end the generation: they are looked for in the bytes of the text, across
   * tokens and inside of them, and are neither delivered nor remembered. Text that could begin one is held back until it
   * is known. By default there are none.
   */
  stop?: string | readonly string[] | undefined;
  /**
   * Tokens that end the generation; they are neither delivered nor evaluated. By default the tokenizer's end of
   * text, or nothing where there is no tokenizer.
   */
  stopTokens?: readonly number[] | Uint32Array | undefined;
  /**
   * Says before each draw which tokens may be drawn: how a grammar or a JSON schema is kept to. It is called with the token
   * that was drawn before, `undefined` at first, and returns one bit for each token (see {@link TokenMask}), a promise of
   * that, or `undefined` for all. `bannedTokens` are not drawn whatever it says. What it throws ends the generation, which
   * then rejects with that. It may not wait for a call on the same session, which waits for the generation. By default
   * there is none.
   */
  tokenMask?: TokenMaskFunction | undefined;
  /** Whether penalties count the tokens of this generation (the default), or of all such generations of the session. */
  penalties?: 'generation' | 'session' | undefined;
  /** Reports the log-probability of each token and of so many of the most probable ones, 0 (the default) to 1000. */
  logprobs?: number | undefined;
  /**
   * Ends the generation, which then rejects with the signal's reason. As long as the prompt has not been evaluated, the
   * session is as it was before the call; afterwards it is in the state after the text that was delivered. `complete` of
   * a session delivers nothing then, and leaves the session as it was.
   */
  signal?: AbortSignal | undefined;
  /**
   * Is called every now and then while the prompt is evaluated: about every 100 ms, where it takes that long. What it
   * throws ends the generation, which then rejects with that, and the session is as it was before the call.
   */
  onProgress?: ((progress: EvaluateProgress) => void) | undefined;
}

/**
 * Why a generation ended: 'endOfText' at the tokenizer's end of text, 'stop' at a stop string or another of `stopTokens`,
 * 'length' at `maxTokens`.
 */
export type FinishReason = 'stop' | 'endOfText' | 'length';

export interface Usage {
  /** Tokens of the prompt; in a chat, of all that was evaluated before the reply. */
  promptTokens: number;
  /** Tokens that were drawn: those of a stop string too, which are not delivered, but not a stop token. */
  completionTokens: number;
}

/** Natural logarithms of probabilities: the model's own, before penalties, bias and truncation. */
export interface TokenLogprobs {
  /** The token that was drawn. */
  token: number;
  /** Its own. */
  logprob: number;
  /** The most probable tokens, the first one first; the one that was drawn may be among them. */
  top: { token: number; logprob: number }[];
}

/** What a generation delivers at a time. */
export interface GeneratedPart {
  /**
   * Whole characters only: what is incomplete is delivered with the token that completes it. Empty where the model has no
   * tokenizer.
   */
  text: string;
  /**
   * The tokens that the text so far is complete with. Where a stop string began inside a token, the last part has the
   * encoding of what was delivered of that token, if the tokenizer can encode it. So all parts' tokens are what the
   * session has evaluated, unless the loop is left or aborted while a part of a token has been delivered: then it has
   * evaluated the encoding of that, too.
   */
  tokens: number[];
  /** Of those of `tokens` that were drawn, where the option `logprobs` is not 0. */
  logprobs?: TokenLogprobs[];
  /** In the last part. */
  finishReason?: FinishReason;
  /** In the last part. */
  usage?: Usage;
}

/** A generation as a whole. */
export interface Completion {
  /** All that was generated, without the stop string that ended it. */
  text: string;
  /** What the session has evaluated for it; see {@link GeneratedPart.tokens}. */
  tokens: number[];
  /** Of those of `tokens` that were drawn, where the option `logprobs` is not 0. */
  logprobs?: TokenLogprobs[];
  /** Why it ended. */
  finishReason: FinishReason;
  /**
   * The seed of the random numbers that were drawn; `JSON.stringify` takes no bigint, `String(seed)` is its text. As the
   * option `seed` it gives the same text again, from the same state with the same other options, if this is the first
   * generation with the seed: one that was given it, or the first of a session, if that is no fork and continues no state.
   * Those after it, in forks too, go on with the random numbers, which are part of the state: the state before such a one
   * gives the same text again.
   */
  seed: bigint;
  /** How many tokens were read, and drawn. */
  usage: Usage;
}

export interface CheckedOptions {
  maxTokens: number;
  stops: readonly Uint8Array[];
  stopTokens: ReadonlySet<number>;
  drawing: Drawing;
  maskAfter: MaskAfter | undefined;
  logprobs: number;
  sessionCounts: boolean;
  seed: bigint | undefined;
  signal: AbortSignal | undefined;
  /** Is aborted when whoever iterated has left. */
  left?: AbortSignal;
  onProgress: GenerateOptions['onProgress'];
}

/** @param defaultStop the stop strings where the options have none */
export function checkGenerateOptions(
  options: unknown,
  model: { info: { vocabulary: number }; tokenizer: TokenizerLike | undefined },
  defaultStop: readonly string[] = [],
): CheckedOptions {
  const size = model.info.vocabulary;
  const checked = checkOptions<
    Omit<GenerateOptions, 'seed' | 'stop'> & { seed?: bigint; stop?: Uint8Array[] }
  >(options, {
    ...samplingChecks(size),
    maxTokens: integer(0, Number.MAX_SAFE_INTEGER),
    stop: stopStrings,
    stopTokens: (name, value) => copyTokens(value, size, name),
    tokenMask: tokenMaskFunction,
    penalties: oneOf('generation', 'session'),
    logprobs: integer(0, 1000),
    seed: checkSeed,
    signal: abortSignal,
    onProgress: callback,
  });
  const {
    maxTokens,
    stop,
    stopTokens,
    tokenMask,
    penalties,
    logprobs,
    seed,
    signal,
    onProgress,
    ...drawing
  } = checked;
  const endOfText = model.tokenizer === undefined ? [] : [model.tokenizer.endOfText];
  if (stop !== undefined && stop.length > 0 && model.tokenizer === undefined) {
    throw new WkvError(
      'ERR_WKV_TOKEN',
      'options.stop: the model has no tokenizer that could make text of tokens',
    );
  }
  return {
    maxTokens: maxTokens ?? 256,
    stops: stop ?? stopStrings('options.stop', defaultStop),
    stopTokens: new Set(stopTokens ?? endOfText),
    drawing,
    maskAfter: tokenMask && masksOf(tokenMask, size),
    logprobs: logprobs ?? 0,
    sessionCounts: penalties === 'session',
    seed,
    signal,
    onProgress,
  };
}

function stopStrings(name: string, value: unknown): Uint8Array[] {
  if (typeof value === 'string') return [stopBytes(name, value)];
  if (!Array.isArray(value)) throw wrongType(name, 'a string, or an array of strings', value);
  // Unlike map(), this comes to the holes of an array, too.
  return Array.from(value, (text: unknown, i) => stopBytes(`${name}[${i}]`, text));
}

/**
 * Evaluates the prompt, then draws, delivers and evaluates token by token. Returns the last part instead of yielding
 * it. However it ends, the session is then in the state after the text that was delivered, sampler included.
 *
 * @param onPrompt called when the prompt has been evaluated
 * @param onRest called when the session is in the state after the text that was delivered; where it was left or aborted
 *   inside a token, with the encoding of what was delivered of that
 */
export async function* generate(
  session: GenerationAccess,
  prompt: Uint32Array | Promise<Uint32Array>,
  {
    maxTokens,
    stops,
    stopTokens,
    drawing,
    maskAfter,
    logprobs,
    sessionCounts,
    seed,
    signal,
    left,
    onProgress,
  }: CheckedOptions,
  onPrompt: () => void = () => undefined,
  onRest: (tokens: Uint32Array) => void = () => undefined,
): AsyncGenerator<GeneratedPart, GeneratedPart, undefined> {
  const { tokenizer } = session;
  const tokens = await prompt;
  if (tokens.length === 0 && !session.native().hasLogits()) throw nothingSeen();
  const nextMask = (previous: number | undefined): Promise<Uint32Array | undefined> | undefined =>
    maskAfter?.(previous, [signal, left, session.disposal()]);
  // This first: it may call a tokenizer of the caller's own, who may dispose the session there.
  const sampling = session.sampling(drawing, logprobs);
  let drawn: NativeDrawn = await withSeed(session, seed, async () => {
    const mask = maxTokens > 0 ? await nextMask(undefined) : undefined;
    session.native().beginGeneration(sampling, sessionCounts);
    return session.submit({ tokens, draw: maxTokens > 0, mask }, signal, onProgress);
  });
  onPrompt();

  const stopSearch = new StopStrings(stops);
  const text = new Delivery(stopSearch);
  const evaluated = new EvaluatedTokens(session, text, stopSearch.longest);
  const usage = { promptTokens: tokens.length, completionTokens: 0 };
  const part = ({ text: delivered, tokens: complete }: Delivered): GeneratedPart => ({
    text: tokenizer === undefined ? '' : delivered,
    tokens: complete.map(({ id }) => id),
    ...(logprobs > 0 ? { logprobs: complete.map(({ id, details }) => toLogprobs(id, details)) } : {}),
  });
  const end = async (finishReason: FinishReason, delivered: Delivered): Promise<GeneratedPart> => {
    const rest = await evaluated.settle();
    const last = part(delivered);
    return { ...last, tokens: [...last.tokens, ...rest], finishReason, usage: { ...usage } };
  };

  try {
    for (;;) {
      const token = drawn.token;
      if (token === undefined) return await end('length', text.flush());
      if (stopTokens.has(token)) {
        return await end(token === tokenizer?.endOfText ? 'endOfText' : 'stop', text.flush());
      }
      usage.completionTokens += 1;
      const stopped = evaluated.push(token, drawn);
      if (stopped) return await end('stop', stopped);
      if (usage.completionTokens === maxTokens) return await end('length', text.flush());
      const delivered = text.take();
      if (delivered.text !== '' || delivered.tokens.length > 0) yield part(delivered);
      signal?.throwIfAborted();
      const allowed = await nextMask(token);
      // Not called off on the way: most of these tokens have been delivered.
      drawn = await evaluated.evaluate(allowed);
      signal?.throwIfAborted();
    }
  } finally {
    if (!session.isDisposed) onRest(await evaluated.settle());
  }
}

function toLogprobs(token: number, { logprob = NaN, topTokens, topLogprobs }: NativeDrawn): TokenLogprobs {
  const top = Array.from(topTokens ?? [], (id, i) => ({ token: id, logprob: topLogprobs?.[i] ?? NaN }));
  return { token, logprob, top };
}

/** Starts the random numbers anew; if the work fails, they are as they were. */
async function withSeed<Result>(
  session: GenerationAccess,
  seed: bigint | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  if (seed === undefined) return work();
  const native = session.native();
  const before = native.random();
  native.setRandom(seed, 0n);
  try {
    return await work();
  } catch (error) {
    if (!session.isDisposed) native.setRandom(before.seed, before.draws);
    throw error;
  }
}

/** A generation's parts, and the last one like the others. */
export async function* withLast<Part>(
  parts: AsyncGenerator<Part, Part, undefined>,
): AsyncGenerator<Part, void, undefined> {
  yield yield* parts;
}

/** All parts of a generation as one. */
export function completionOf(parts: readonly GeneratedPart[], seed: bigint | undefined): Completion {
  const all = parts.map(withoutPrototype);
  const { logprobs, finishReason, usage } = all.at(-1) ?? {};
  if (finishReason === undefined || usage === undefined || seed === undefined) {
    throw new Error('a generation ended without its last part');
  }
  return {
    text: all.map(({ text }) => text).join(''),
    tokens: all.flatMap(({ tokens }) => tokens),
    ...(logprobs === undefined ? {} : { logprobs: all.flatMap((part) => part.logprobs ?? []) }),
    finishReason,
    seed,
    usage,
  };
}

export function nothingSeen(): WkvError {
  return new WkvError(
    'ERR_WKV_STATE',
    'the session has seen nothing yet, so there are no logits; evaluate at least one token first',
  );
}
