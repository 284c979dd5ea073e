import { Sampler, type SamplerOptions } from '../../lib/index';
import { draw, logs } from './support';

const draws = 20_000;
const noPenalties = { presencePenalty: 0, frequencyPenalty: 0 };

/**
 * Sum of (observed - expected)^2 / expected. Tokens that are not expected at all must not come.
 */
function chiSquare(logits: Float32Array, expected: readonly number[], options: SamplerOptions): number {
  const counts = new Array<number>(expected.length).fill(0);
  for (const token of draw(new Sampler({ ...noPenalties, ...options }), logits, draws)) {
    counts[token] = (counts[token] ?? 0) + 1;
  }
  const total = expected.reduce((sum, p) => sum + p, 0);
  return expected.reduce((sum, p, token) => {
    const mean = (draws * p) / total;
    const count = counts[token] ?? 0;
    if (p === 0) {
      expect([token, count]).toEqual([token, 0]);
      return sum;
    }
    return sum + (count - mean) ** 2 / mean;
  }, 0);
}

const probabilities = [0.3, 0.05, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05];

// The seeds are fixed, so these pass or fail for ever. A chi-square of 7 degrees of freedom is above 24.3, and one of 4
// is above 18.5, once in a thousand seeds.
describe('Tokens come as often as they are probable', () => {
  test.each([1, 2, 3, 4, 5])('seed %p', (seed) => {
    expect(chiSquare(logs(...probabilities), probabilities, { topP: 1, seed })).toBeLessThan(24.3);
  });

  test('at a temperature', () => {
    const bent = probabilities.map((p) => p ** 2);
    expect(chiSquare(logs(...probabilities), bent, { topP: 1, temperature: 0.5, seed: 6 })).toBeLessThan(
      24.3,
    );
  });

  test('among those of top-p', () => {
    // 0.3, 0.2, 0.15, then two of 0.1, of which the first reaches 0.7.
    const kept = probabilities.map((p) => (p >= 0.1 ? p : 0));
    expect(chiSquare(logs(...probabilities), kept, { topP: 0.7, seed: 7 })).toBeLessThan(18.5);
  });

  test('among those of top-k', () => {
    const kept = probabilities.map((p, token) => (p >= 0.1 || token === 1 ? p : 0));
    // 6 tokens: 5 degrees of freedom, 20.5 once in a thousand seeds
    expect(chiSquare(logs(...probabilities), kept, { topP: 1, topK: 6, seed: 8 })).toBeLessThan(20.5);
  });

  test('in a large vocabulary, by parts of it', () => {
    // All tokens of part i have the same probability, and the part has probabilities[i].
    const part = 65_536 / 8;
    const logits = new Float32Array(65_536);
    probabilities.forEach((p, i) => logits.fill(Math.log(p), i * part, (i + 1) * part));
    const sampler = new Sampler({ ...noPenalties, topP: 1, seed: 9 });
    const counts = new Array<number>(8).fill(0);
    for (let i = 0; i < 4000; i++) {
      const which = Math.floor(sampler.sample(logits) / part);
      counts[which] = (counts[which] ?? 0) + 1;
    }
    const sum = probabilities.reduce((all, p, i) => all + ((counts[i] ?? 0) - 4000 * p) ** 2 / (4000 * p), 0);
    expect(sum).toBeLessThan(24.3);
  });
});
