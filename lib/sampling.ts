import { isMap } from 'node:util/types';
import type { NativeSampling } from './native';
import {
  integer,
  isPlainObject,
  number,
  outOfRange,
  show,
  withoutPrototype,
  wrongType,
  wrongValue,
  type Checks,
} from './options';
import { checkToken, copyTokens } from './token-ids';

/** What narrows or bends the probabilities of the next token; see {@link SamplingOptions.samplerOrder}. */
export type SamplerStep = 'topP' | 'topK' | 'minP' | 'typicalP' | 'temperature';

/** How the next token is drawn. The defaults are those of ChatRWKV, the reference program of RWKV. */
export interface SamplingOptions {
  /** How even the odds are made: p^(1/temperature), 0 to 100. 0 always takes the most probable token; 1 by default. */
  temperature?: number | undefined;
  /** Only among the most probable tokens whose probabilities reach this together, 0 to 1; 0.85 by default, 1 for all. */
  topP?: number | undefined;
  /** Only among so many of the most probable tokens, 0 to 2^32 - 1; 0 (the default) for all. */
  topK?: number | undefined;
  /** Only tokens at least so many times as probable as the most probable one, 0 to 1; 0 by default. */
  minP?: number | undefined;
  /**
   * Only the tokens that are about as probable as is to be expected, until they reach this together, above 0 to 1; 1
   * (the default) for all. Meister et al., "Locally typical sampling", 2022.
   */
  typicalP?: number | undefined;
  /**
   * Lowers the logit of every token that was generated already, -100 to 100. By default 0.2, and 0 where tokens are
   * single bytes, because text repeats letters.
   */
  presencePenalty?: number | undefined;
  /** Lowers it once more for each time that the token was generated, -100 to 100; by default as above. */
  frequencyPenalty?: number | undefined;
  /** What the counts of the frequency penalty are multiplied with at each token, 0 to 1; 0.996 by default. */
  penaltyDecay?: number | undefined;
  /**
   * Tokens whose repetitions are not counted: for them the frequency penalty is 0, the presence penalty counts.
   * Session and chat take ChatRWKV's by default: digits and white space, the tokens whose text stands in ' \t0123456789'.
   */
  penaltyExempt?: readonly number[] | Uint32Array | undefined;
  /** Added to the logits of single tokens, by id: numbers from -1e30 to 1e30; -Infinity forbids a token. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number> | undefined;
  /** Tokens that are never drawn. */
  bannedTokens?: readonly number[] | Uint32Array | undefined;
  /**
   * Starts the random numbers anew: the same seed draws the same tokens. A number is an integer from 0 to 2^53 - 1, a
   * bigint is below 2^64.
   */
  seed?: number | bigint | undefined;
  /**
   * The order of the steps, each named once. By default ChatRWKV's: top-p, top-k, then min-p, typical-p and at last the
   * temperature, so that a high temperature lets no more tokens in. Others (Hugging Face, llama.cpp) begin with it.
   */
  samplerOrder?: readonly SamplerStep[] | undefined;
}

/** Options of which only the native sampler knows: all but the seed. */
export type Drawing = Omit<SamplingOptions, 'seed'>;

const steps: readonly SamplerStep[] = ['topP', 'topK', 'minP', 'typicalP', 'temperature'];

/** Checks for `checkOptions`; ids have to be below `size`. */
export function samplingChecks(size: number): Checks<Drawing> {
  const tokens = (name: string, value: unknown): Uint32Array => copyTokens(value, size, name);
  return {
    temperature: number(0, 100),
    topP: number(0, 1),
    topK: integer(0, 2 ** 32 - 1),
    minP: number(0, 1),
    typicalP: (name, value) => {
      const checked = number(0, 1)(name, value);
      if (checked === 0) throw outOfRange(name, 'a number above 0, up to 1', checked);
      return checked;
    },
    presencePenalty: number(-100, 100),
    frequencyPenalty: number(-100, 100),
    penaltyDecay: number(0, 1),
    penaltyExempt: tokens,
    logitBias: (name, value) => biases(name, value, size),
    bannedTokens: tokens,
    samplerOrder: (name, value) => order(name, value),
  };
}

function order(name: string, value: unknown): SamplerStep[] {
  if (!Array.isArray(value)) throw wrongType(name, 'an array', value);
  // One too many says enough, however many there are.
  const length = Math.min(value.length, steps.length + 1);
  const found = Array.from({ length }, (_, i): unknown => value[i]);
  if (found.length !== steps.length || !steps.every((step) => found.includes(step))) {
    throw wrongValue(
      `${name}: expected each of ${steps.join(', ')} once, found [${found.map(show).join(', ')}]`,
    );
  }
  return found as SamplerStep[];
}

function biases(name: string, value: unknown, size: number): Map<number, number> {
  if (!isMap(value) && !isPlainObject(value)) {
    throw wrongType(name, 'a plain object or a Map of numbers by token id', value);
  }
  const entries: [unknown, unknown][] = isMap(value) ? [...value] : Object.entries(value);
  const checked = new Map<number, number>();
  for (const [key, bias] of entries) {
    // Keys of an object are strings.
    const id: unknown = typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : key;
    const token = checkToken(id, size, `${name}: a key`);
    if (typeof bias !== 'number') throw wrongType(`${name}[${token}]`, 'a number', bias);
    if (!(Math.abs(bias) <= 1e30 || bias === -Infinity)) {
      throw outOfRange(`${name}[${token}]`, 'a number from -1e30 to 1e30, or -Infinity', bias);
    }
    checked.set(token, bias);
  }
  return checked;
}

/** What the native sampler takes, for checked options; what is not given has its default. */
export function toNativeSampling(
  given: Drawing,
  rest: { logprobs?: number; forbidden?: Uint32Array | undefined; penalty?: number } = {},
): NativeSampling {
  const options = withoutPrototype(given);
  const bias = [...((options.logitBias ?? new Map()) as Map<number, number>)];
  const { logprobs = 0, forbidden = new Uint32Array(0), penalty = 0.2 } = withoutPrototype(rest);
  return {
    temperature: options.temperature ?? 1,
    topP: options.topP ?? 0.85,
    topK: options.topK ?? 0,
    minP: options.minP ?? 0,
    typicalP: options.typicalP ?? 1,
    order: Uint32Array.from(options.samplerOrder ?? steps, (step) => steps.indexOf(step)),
    presencePenalty: options.presencePenalty ?? penalty,
    frequencyPenalty: options.frequencyPenalty ?? penalty,
    penaltyDecay: options.penaltyDecay ?? 0.996,
    exempt: Uint32Array.from(options.penaltyExempt ?? []),
    forbidden: concatenate(forbidden, options.bannedTokens ?? []),
    biasTokens: Uint32Array.from(bias, ([token]) => token),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    logprobs,
  };
}

function concatenate(first: Uint32Array, second: readonly number[] | Uint32Array): Uint32Array {
  const all = new Uint32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
