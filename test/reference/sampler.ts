/**
 * Drawing a token in float64, from probabilities: ChatRWKV's `sample_logits` and the penalties of its `generate`, with
 * the steps that it does not have beside its own. Written to be read; it shares no code with the package, whose sampler
 * works on logarithms.
 */

type ReferenceStep = 'topP' | 'topK' | 'minP' | 'typicalP' | 'temperature';

export interface ReferenceSampling {
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  typicalP?: number;
  samplerOrder?: readonly ReferenceStep[];
  presencePenalty?: number;
  frequencyPenalty?: number;
  penaltyDecay?: number;
  penaltyExempt?: readonly number[];
  logitBias?: Readonly<Record<number, number>>;
  bannedTokens?: readonly number[];
}

// jest looks up a global anew each time, slowly
const { abs, exp, fround, log, max } = Math;

/**
 * Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011, where a round is given as the
 * high and low halves of two products.
 */
export function philox(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  const mask = (1n << 32n) - 1n;
  let [x0 = 0n, x1 = 0n, x2 = 0n, x3 = 0n] = counter;
  let [k0 = 0n, k1 = 0n] = key;
  for (let round = 0; round < 10; round++) {
    const first = x0 * 0xd2511f53n;
    const second = x2 * 0xcd9e8d57n;
    [x0, x1, x2, x3] = [(second >> 32n) ^ x1 ^ k0, second & mask, (first >> 32n) ^ x3 ^ k1, first & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [x0, x1, x2, x3];
}

/** Random number `draw` of a seed, in [0, 1): the first 53 bits of Philox. */
export function uniform(seed: bigint, draw: bigint): number {
  const mask = (1n << 32n) - 1n;
  const [first = 0n, second = 0n] = philox([draw & mask, draw >> 32n, 0n, 0n], [seed & mask, seed >> 32n]);
  return Number((first << 21n) | (second >> 11n)) / 2 ** 53;
}

function normalize(p: Float64Array): Float64Array {
  const total = p.reduce((sum, value) => sum + value, 0);
  return p.map((value) => value / total);
}

function softmax(logits: Float64Array): Float64Array {
  const highest = logits.reduce((most, value) => max(most, value), -Infinity);
  return normalize(logits.map((value) => exp(value - highest)));
}

/** The probability of the last of the most probable tokens that reach `mass` together. */
function cutoff(p: Float64Array, mass: number): number {
  const descending = p.slice().sort().reverse();
  let sum = 0;
  return (
    descending.find((value) => {
      sum += value;
      return sum >= mass;
    }) ?? 0
  );
}

/** The surprise that is furthest from the entropy, of the tokens nearest to it that reach `mass` together. */
function typicalDistance(p: Float64Array, distance: Float64Array, mass: number): number {
  const order = Array.from(p.keys()).sort((a, b) => (distance[a] ?? 0) - (distance[b] ?? 0));
  let sum = 0;
  const last = order.find((token) => {
    sum += p[token] ?? 0;
    return sum >= mass;
  });
  return last === undefined ? Infinity : (distance[last] ?? 0);
}

/** The probabilities that a token is drawn with. */
export function probabilities(logits: Float64Array, options: ReferenceSampling): Float64Array {
  const { temperature = 1, topP = 0.85, topK = 0, minP = 0, typicalP = 1 } = options;
  const order = options.samplerOrder ?? ['topP', 'topK', 'minP', 'typicalP', 'temperature'];
  let p = softmax(logits);
  const keep = (stays: (value: number, token: number) => boolean): void => {
    p = normalize(p.map((value, token) => (stays(value, token) ? value : 0)));
  };
  const steps: Record<ReferenceStep, () => void> = {
    topP: () => {
      if (topP >= 1) return;
      const last = cutoff(p, topP);
      keep((value) => value >= last);
    },
    topK: () => {
      if (topK === 0) return;
      const best = Array.from(p.keys()).sort((a, b) => (p[b] ?? 0) - (p[a] ?? 0) || a - b);
      const kept = new Set(best.slice(0, topK));
      keep((_, token) => kept.has(token));
    },
    minP: () => {
      if (minP === 0) return;
      const most = p.reduce((a, b) => max(a, b), 0);
      keep((value) => value >= minP * most);
    },
    typicalP: () => {
      if (typicalP >= 1) return;
      const entropy = p.reduce((sum, value) => (value > 0 ? sum - value * log(value) : sum), 0);
      const distance = p.map((value) => abs(-log(value) - entropy));
      const last = typicalDistance(p, distance, typicalP);
      keep((_, token) => (distance[token] ?? Infinity) <= last);
    },
    temperature: () => {
      if (temperature === 1) return;
      const most = p.reduce((a, b) => max(a, b), 0);
      p = normalize(p.map((value) => (value / most) ** (1 / temperature)));
    },
  };
  for (const step of order) steps[step]();
  return p;
}

/** ChatRWKV's loop: penalties, a draw, then all counts decay, and the token's own grows. */
export class ReferenceSampler {
  readonly counts = new Map<number, number>();
  #draws = 0n;

  constructor(
    private readonly options: ReferenceSampling,
    private readonly seed: bigint,
  ) {}

  sample(logits: Float32Array): number {
    const token = this.#draw(this.#bent(logits));
    this.#draws += 1n;
    const { penaltyDecay = 0.996, penaltyExempt = [] } = this.options;
    for (const [counted, count] of this.counts) this.counts.set(counted, count * penaltyDecay);
    this.counts.set(token, (this.counts.get(token) ?? 0) + (penaltyExempt.includes(token) ? 0 : 1));
    return token;
  }

  #bent(logits: Float32Array): Float64Array {
    const { presencePenalty = 0.2, frequencyPenalty = 0.2, logitBias = {}, bannedTokens = [] } = this.options;
    const bent = Float64Array.from(logits);
    const add = (token: number, bias: number): void => {
      if (token < bent.length) bent[token] = (bent[token] ?? 0) + bias;
    };
    for (const [token, count] of this.counts) add(token, -(presencePenalty + count * frequencyPenalty));
    for (const [token, bias] of Object.entries(logitBias)) add(Number(token), fround(bias));
    for (const token of bannedTokens) add(token, -Infinity);
    return bent.map(fround);
  }

  #draw(logits: Float64Array): number {
    if (this.options.temperature === 0) {
      return logits.indexOf(logits.reduce((most, value) => max(most, value), -Infinity));
    }
    const p = probabilities(logits, this.options);
    let left = uniform(this.seed, this.#draws);
    const token = p.findIndex((value) => (left -= value) < 0);
    return token === -1 ? p.findLastIndex((value) => value > 0) : token;
  }
}
