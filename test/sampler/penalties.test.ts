import { Sampler, type SamplerOptions } from '../../lib/index';
import { draw } from './support';

/** What a sampler at temperature 0 draws: it shows which logit is the highest after the penalties. */
function greedy(logits: readonly number[], count: number, options: SamplerOptions): number[] {
  return draw(new Sampler({ temperature: 0, ...options }), Float32Array.from(logits), count);
}

describe('Penalties', () => {
  test('lower the logit of every token that was drawn by the presence penalty, once', () => {
    const options = { presencePenalty: 1, frequencyPenalty: 0 };
    // 3, then 2.5, then 3 - 1 = 2 for good, before 1.75 and 2.5 - 1 = 1.5
    expect(greedy([3, 2.5, 1.75], 5, options)).toEqual([0, 1, 0, 0, 0]);
  });

  test('lower it by the frequency penalty for each time that it was drawn', () => {
    const options = { presencePenalty: 0, frequencyPenalty: 1, penaltyDecay: 1 };
    // 3.5 2.25 | 2.5 2.25 | 1.5 2.25 | 1.5 1.25 | 0.5 1.25 | 0.5 0.25
    expect(greedy([3.5, 2.25], 6, options)).toEqual([0, 0, 1, 0, 1, 0]);
  });

  test('fade: a draw multiplies all counts, then adds one to its own', () => {
    const options = { presencePenalty: 0, frequencyPenalty: 1, penaltyDecay: 0.5 };
    // Counts after each draw:  1 0 | 0.5 1 | 1.25 0.5 | 0.625 1.25 | 1.3125 0.625 | 0.65625 1.3125
    // and logits before the next: 1 1.6 | 1.5 0.6 | 0.75 1.1 | 1.375 0.35 | 0.6875 0.975
    expect(greedy([2, 1.6], 6, options)).toEqual([0, 1, 0, 1, 0, 1]);
    // With counts that stay the first token comes back later: 1 1.6 | 1 0.6 | 0 0.6.
    expect(greedy([2, 1.6], 4, { ...options, penaltyDecay: 1 })).toEqual([0, 1, 0, 1]);
    expect(greedy([2, 1.1], 4, options)).toEqual([0, 1, 0, 0]); // 1 1.1 | 1.5 0.1 | 0.75 0.6
    expect(greedy([2, 1.1], 4, { ...options, penaltyDecay: 1 })).toEqual([0, 1, 0, 1]); // 1 0.1 | 0 0.1
  });

  test('of frequency are for the last token alone at a decay of 0', () => {
    const options = { presencePenalty: 0, frequencyPenalty: 1, penaltyDecay: 0 };
    // 1 0.9 0.5 | 0 0.9 0.5 | 1 -0.1 0.5 | 0 0.9 0.5
    expect(greedy([1, 0.9, 0.5], 4, options)).toEqual([0, 1, 0, 1]);
  });

  test('of presence do not fade', () => {
    const options = { presencePenalty: 1, frequencyPenalty: 0, penaltyDecay: 0 };
    expect(greedy([2, 1.5, 1.25], 5, options)).toEqual([0, 1, 2, 0, 0]);
  });

  test('of frequency are not for exempt tokens, those of presence are', () => {
    const options = { presencePenalty: 0.5, frequencyPenalty: 10, penaltyExempt: [0] };
    expect(greedy([2, 1.25], 4, options)).toEqual([0, 0, 0, 0]);
    expect(greedy([2, 1.75], 4, options)).toEqual([0, 1, 0, 0]);
  });

  test('know exempt tokens in whatever order they are given', () => {
    const options = { presencePenalty: 0, frequencyPenalty: 1, penaltyExempt: [9, 8, 5, 2] };
    expect(greedy([0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0.2], 4, options)).toEqual([2, 2, 2, 2]);
  });

  test('exempt no token unless told to', () => {
    expect(greedy([2, 1], 2, { presencePenalty: 0, frequencyPenalty: 10 })).toEqual([0, 1]);
  });

  test('below 0 favor what was drawn before', () => {
    const options = { presencePenalty: -1, frequencyPenalty: -1, logitBias: { 0: -1 } };
    expect(greedy([2, 1.5], 3, options)).toEqual([1, 1, 1]);
  });

  test('come on top of biases in whatever order those are given', () => {
    const logitBias = new Map([
      [7, 1],
      [3, 2],
    ]);
    const options = { presencePenalty: 3, frequencyPenalty: 0, logitBias };
    // 3 has 2, then -1; 7 has 1, then -2; the others 0, then -3.
    expect(greedy(new Array<number>(10).fill(0), 4, options)).toEqual([3, 7, 0, 1]);
  });

  test('are 0.2 and 0.2, and fade by 0.996, by default', () => {
    // The first token's logit is 10 - 0.2 - 0.2 * count, with counts 1, 1.996, 2.988, 3.976.
    const at = (second: number): number => greedy([10, second], 5, {}).indexOf(1);
    expect(at(10 - 0.2 - 0.2 * 1 + 0.01)).toBe(1);
    expect(at(10 - 0.2 - 0.2 * 1.996 + 0.01)).toBe(2);
    expect(at(10 - 0.2 - 0.2 * 1.996 - 0.01)).toBe(3);
    expect(at(10 - 0.2 - 0.2 * (1 + 0.996 * 1.996) + 0.0005)).toBe(3);
    expect(at(10 - 0.2 - 0.2 * (1 + 0.996 * 1.996) - 0.0005)).toBe(4);
  });

  test('meet tokens wherever the ids lie in a large vocabulary', () => {
    const logits = new Float32Array(65_536).fill(-1);
    const likely = [65_535, 40_000, 1, 0, 300];
    likely.forEach((token, i) => (logits[token] = 5 - i));
    const options = { presencePenalty: 50, frequencyPenalty: 0, temperature: 0 };
    expect(draw(new Sampler(options), logits, 5)).toEqual(likely);
  });
});
