import { WkvError } from './errors';
import { output, type EvaluationRequest, type EvaluationResult, type NativeSession } from './native';
import { abortSignal, checkOptions, integer, number, seed as checkSeed } from './options';
import { StreamingDecoder } from './decoder';
import { copyTokens } from './token-ids';
import type { TokenizerLike } from './tokenizer';

export interface GenerateOptions {
  /** At most so many tokens are generated; 256 by default. */
  maxTokens?: number;
  /**
   * Tokens that end the generation; they are neither delivered nor taken in. By default the tokenizer's end of
   * text, or nothing where there is no tokenizer.
   */
  stopTokens?: readonly number[];
  /** How even the odds are made: 0 always takes the most probable token, 1 (the default) leaves them. */
  temperature?: number;
  /**
   * Draws only among the most probable tokens whose probabilities together reach this; 0.85 by default, 1 for all.
   * Applied before the temperature, as ChatRWKV does.
   */
  topP?: number;
  /** Starts the session's random numbers anew: the same seed draws the same tokens. */
  seed?: number | bigint;
  signal?: AbortSignal;
}

/** Why a generation ended: at one of `stopTokens`, at the end of the text, or at `maxTokens`. */
export type FinishReason = 'stop' | 'endOfText' | 'length';

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

/** What a generation delivers at a time. */
export interface GeneratedPart {
  /** Whole characters only: what is incomplete is delivered with the token that completes it. */
  text: string;
  tokens: number[];
  /** In the last part. */
  finishReason?: FinishReason;
  /** In the last part. */
  usage?: Usage;
}

/** A generation as a whole. */
export interface Completion {
  text: string;
  tokens: number[];
  finishReason: FinishReason;
  /** The seed of the random numbers that were drawn. */
  seed: bigint;
  usage: Usage;
}

interface CheckedOptions {
  maxTokens: number;
  stopTokens: ReadonlySet<number>;
  temperature: number;
  topP: number;
  seed: bigint | undefined;
  signal: AbortSignal | undefined;
}

/** What a generation needs of its session, which does nothing else meanwhile. */
export interface GenerationAccess {
  readonly tokenizer: TokenizerLike | undefined;
  native(): NativeSession;
  /** Called before the first token is drawn. */
  prepare(): void;
  submit(evaluation: EvaluationRequest, signal?: AbortSignal): Promise<EvaluationResult>;
}

export function checkGenerateOptions(
  options: unknown,
  model: { info: { vocabulary: number }; tokenizer: TokenizerLike | undefined },
): CheckedOptions {
  const checked = checkOptions<Omit<GenerateOptions, 'seed'> & { seed?: bigint }>(options, {
    maxTokens: integer(0, Number.MAX_SAFE_INTEGER),
    stopTokens: (name, value) => [...copyTokens(value as readonly number[], model.info.vocabulary, name)],
    temperature: number(0, 100),
    topP: number(0, 1),
    seed: checkSeed,
    signal: abortSignal,
  });
  const endOfText = model.tokenizer === undefined ? [] : [model.tokenizer.endOfText];
  return {
    maxTokens: checked.maxTokens ?? 256,
    stopTokens: new Set(checked.stopTokens ?? endOfText),
    temperature: checked.temperature ?? 1,
    topP: checked.topP ?? 0.85,
    seed: checked.seed,
    signal: checked.signal,
  };
}

/**
 * Evaluates the prompt, then draws, delivers and evaluates token by token. Whenever it ends, the session is in the
 * state after the tokens that were delivered, random numbers included.
 */
export async function* generate(
  session: GenerationAccess,
  prompt: Uint32Array,
  { maxTokens, stopTokens, temperature, topP, seed, signal }: CheckedOptions,
): AsyncGenerator<GeneratedPart, void, undefined> {
  const { tokenizer } = session;
  const decoder = tokenizer && new StreamingDecoder(tokenizer);
  const sampling = maxTokens > 0 ? { temperature, topP } : {};
  const request = { tokens: prompt, output: output.none };
  if (prompt.length === 0 && !session.native().hasLogits()) throw nothingSeen();
  session.prepare();
  let { sampled } = await withSeed(session.native(), seed, () =>
    session.submit({ ...request, ...sampling }, signal),
  );

  const usage = { promptTokens: prompt.length, completionTokens: 0 };
  const end = (finishReason: FinishReason, text: string, tokens: number[]): GeneratedPart => {
    return { text: text + (decoder?.end() ?? ''), tokens, finishReason, usage: { ...usage } };
  };
  // Delivered, but not taken in yet.
  let owed: number | undefined;
  try {
    while (sampled !== undefined && !stopTokens.has(sampled)) {
      const token: number = sampled;
      const text = decoder?.push(token) ?? '';
      owed = token;
      usage.completionTokens += 1;
      if (usage.completionTokens === maxTokens) {
        yield end('length', text, [token]);
        return;
      }
      yield { text, tokens: [token] };
      // Not called off on the way: the token has been delivered, so it must be taken in.
      signal?.throwIfAborted();
      owed = undefined;
      ({ sampled } = await session.submit({ ...request, tokens: Uint32Array.of(token), ...sampling }));
      if (signal?.aborted === true) {
        takeBackDraw(session.native());
        signal.throwIfAborted();
      }
    }
    const reason = sampled === undefined ? 'length' : sampled === tokenizer?.endOfText ? 'endOfText' : 'stop';
    yield end(reason, '', []);
  } finally {
    if (owed !== undefined) await session.submit({ ...request, tokens: Uint32Array.of(owed) });
  }
}

/** Starts the random numbers anew; if the work fails, they are as they were. */
async function withSeed<Result>(
  session: NativeSession,
  seed: bigint | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  if (seed === undefined) return work();
  const before = session.random();
  session.setRandom(seed, 0n);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WkvError && error.code === 'ERR_WKV_DISPOSED')) {
      session.setRandom(before.seed, before.draws);
    }
    throw error;
  }
}

/** A token was drawn that nobody will see: its random number is drawn again next time. */
function takeBackDraw(session: NativeSession): void {
  const { seed, draws } = session.random();
  session.setRandom(seed, draws - 1n);
}

/** All parts of a generation as one. */
export async function complete(
  session: GenerationAccess,
  parts: AsyncGenerator<GeneratedPart, void, undefined>,
): Promise<Completion> {
  const whole = { text: '', tokens: new Array<number>() };
  for await (const { text, tokens, finishReason, usage } of parts) {
    whole.text += text;
    whole.tokens.push(...tokens);
    if (finishReason !== undefined && usage !== undefined) {
      return { ...whole, finishReason, seed: session.native().random().seed, usage };
    }
  }
  throw new Error('a generation ended without its last part');
}

export function nothingSeen(): WkvError {
  return new WkvError(
    'ERR_WKV_STATE',
    'the session has seen nothing yet, so there are no logits; evaluate at least one token first',
  );
}
