import { TextDecoder } from 'node:util';
import { isFloat32Array } from 'node:util/types';
import { WkvError } from './errors';
import { Field } from './json-field';
import { callNative, native, type NativeSampler, type NativeSamplerState } from './native';
import {
  checkOptions,
  lengthOf,
  outOfRange,
  seed as checkSeed,
  uint8Array,
  withoutPrototype,
  wrongType,
} from './options';
import { randomSeed } from './random';
import { samplingChecks, toNativeSampling, type Drawing, type SamplingOptions } from './sampling';
import type { ForkOptions } from './session';
import { messageOf } from './thrown';

/**
 * How a {@link Sampler} draws. It knows no tokenizer, so `penaltyExempt` is empty unless it is given, and the
 * penalties are 0.2. Ids may be any below 2^32; those beyond the logits mean nothing.
 */
export type SamplerOptions = SamplingOptions;

/** Ids that a Uint32Array can hold; which of them there are only the logits tell. */
const ids = 2 ** 32;
const maxLogits = 2 ** 31 - 1;
const format = 'wkv sampler';
const version = 1;

/**
 * Draws tokens from logits, as sessions do, for logits from anywhere. A token is drawn as in ChatRWKV: the logits
 * of tokens drawn before are lowered by `presencePenalty + count * frequencyPenalty`, the steps of `samplerOrder`
 * narrow the probabilities, and a random number of Philox 4x32-10 (Salmon et al., 2011), keyed by the seed and
 * counted by the draws, picks one. Then all counts are multiplied with `penaltyDecay`, and the token's own is raised by
 * one. The same options, seed and logits draw the same tokens, on every processor.
 */
export class Sampler {
  readonly #options: Drawing;
  #native: NativeSampler;

  /**
   * Without a seed one is drawn; {@link Sampler.seed} tells it.
   *
   * @throws {TypeError} or {RangeError} for wrong options, {WkvError} `ERR_WKV_TOKEN` for an id that is not below 2^32
   */
  constructor(options?: SamplerOptions) {
    const { seed, ...drawing } = checkOptions<Drawing & { seed?: bigint }>(options, {
      ...samplingChecks(ids),
      seed: checkSeed,
    });
    this.#options = drawing;
    this.#native = this.#create(fresh(seed ?? randomSeed()));
  }

  /** The seed of the random numbers: what was given or drawn, 0 to 2^64 - 1. */
  get seed(): bigint {
    return this.#native.state().seed;
  }

  /** How many tokens have been drawn with this seed. */
  get draws(): number {
    return Number(this.#native.state().draws);
  }

  /**
   * Draws a token, counts it, and uses up a random number. `logits` [vocabulary], one for each id from 0 on, are
   * the model's own; they are not changed. On an error nothing has changed.
   *
   * @throws {TypeError} where `logits` is no Float32Array, {RangeError} where it is empty
   * @throws {WkvError} `ERR_WKV_STATE` where a logit is not finite, or no token is left that may be drawn
   */
  sample(logits: Float32Array): number {
    if (!isFloat32Array(logits)) throw wrongType('logits', 'a Float32Array', logits);
    const count = lengthOf(logits);
    if (count === 0 || count > maxLogits) {
      throw outOfRange('logits', `1 to ${maxLogits} numbers`, count);
    }
    const token = callNative(() => this.#native.sample(logits));
    if (token === undefined) throw nothingToDraw(logits);
    return token;
  }

  /**
   * An independent copy, counts included. Without a seed both draw the same random numbers from here on; a seed starts
   * the copy's anew.
   *
   * @throws {TypeError} or {RangeError} for a wrong seed
   */
  fork(options?: ForkOptions): Sampler {
    const { seed } = checkOptions<{ seed?: bigint }>(options, { seed: checkSeed });
    const state = this.#native.state();
    return this.#with(seed === undefined ? state : { ...state, seed, draws: 0n });
  }

  /** Forgets which tokens were drawn, for a new text. The random numbers go on. */
  reset(): void {
    const { seed, draws } = this.#native.state();
    this.#native = this.#create({ ...fresh(seed), draws });
  }

  /** Options, counts and random numbers as bytes (UTF-8 JSON): what {@link Sampler.deserialize} continues exactly. */
  serialize(): Uint8Array {
    const { seed, draws, tokens, counts } = this.#native.state();
    const { logitBias, penaltyExempt, bannedTokens, ...options } = withoutPrototype(this.#options);
    // JSON has no infinity.
    const bias = [...((logitBias ?? new Map()) as Map<number, number>)].map(([token, value]) => [
      token,
      value === -Infinity ? null : value,
    ]);
    const text = JSON.stringify({
      format,
      version,
      options: {
        ...options,
        penaltyExempt: [...(penaltyExempt ?? [])],
        bannedTokens: [...(bannedTokens ?? [])],
        logitBias: bias,
      },
      seed: String(seed),
      draws: String(draws),
      tokens: [...tokens],
      counts: [...counts],
    });
    return Uint8Array.from(Buffer.from(text, 'utf8'));
  }

  /**
   * The sampler that {@link Sampler.serialize} made bytes of: it draws what that one would have drawn.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where the bytes are damaged, of another version, or no sampler
   * @throws {TypeError} where they are no Uint8Array
   */
  static deserialize(bytes: Uint8Array): Sampler {
    const checked = uint8Array('bytes', bytes);
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(checked);
      const saved = new Field(JSON.parse(text), 'sampler', (reason) => new Error(reason));
      const { format: foundFormat, version: foundVersion } = saved.record();
      if (foundFormat !== format) throw new Error('they are of something else');
      if (foundVersion !== version) throw new Error(`version ${version} is expected`);
      const options = saved.at('options');
      const logitBias = savedBias(options.at('logitBias'));
      const sampler = new Sampler({ ...options.record(), logitBias, seed: 0 });
      return sampler.#with(savedState(saved));
    } catch (error) {
      throw new WkvError('ERR_WKV_STATE', `the bytes are not a sampler's: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** A sampler with the same options. */
  #with(state: NativeSamplerState): Sampler {
    const sampler = new Sampler({ ...this.#options, seed: state.seed });
    sampler.#native = sampler.#create(state);
    return sampler;
  }

  #create(state: NativeSamplerState): NativeSampler {
    return callNative(() => new native.Sampler(toNativeSampling(this.#options), state));
  }
}

function nothingToDraw(logits: Float32Array): WkvError {
  const index = Float32Array.prototype.findIndex.call(logits, (logit) => !Number.isFinite(logit));
  if (index < 0)
    return new WkvError('ERR_WKV_STATE', 'there is nothing to draw: no token is left that may be drawn');
  const expected = 'a finite number';
  const found = String(logits[index]);
  const instead = logits[index] === -Infinity ? '; bannedTokens and logitBias forbid tokens' : '';
  return new WkvError('ERR_WKV_STATE', `logits[${index}]: expected ${expected}, found ${found}${instead}`, {
    expected,
    found,
  });
}

function fresh(seed: bigint): NativeSamplerState {
  return { seed, draws: 0n, tokens: new Uint32Array(0), counts: new Float64Array(0) };
}

function savedBias(field: Field): Map<number, number> {
  return new Map(
    field.array().map((entry) => {
      const [token, bias] = entry.pair();
      const value = bias.orNull()?.number(-Number.MAX_VALUE, Number.MAX_VALUE);
      return [token.integer(0, ids - 1), value ?? -Infinity];
    }),
  );
}

function savedState(saved: Field): NativeSamplerState {
  const tokens = saved.at('tokens').tokens(ids);
  // A count grows by at most one for each of fewer than 2^53 draws.
  const counts = saved.at('counts').array();
  if (tokens.length !== counts.length || tokens.some((token, i) => i > 0 && token <= (tokens[i - 1] ?? 0))) {
    throw new Error('the tokens do not ascend, or have no counts');
  }
  const draws = saved.at('draws').bits64();
  if (draws > BigInt(Number.MAX_SAFE_INTEGER)) throw outOfRange('draws', 'at most 2^53 - 1', draws);
  return {
    seed: saved.at('seed').bits64(),
    draws,
    tokens,
    counts: Float64Array.from(counts, (count) => count.number(0, Number.MAX_SAFE_INTEGER)),
  };
}
