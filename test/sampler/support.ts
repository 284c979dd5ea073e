import type { Sampler } from '../../lib/index';
import { randomNumbers } from '../support/random-model';

const { cos, fround, log, sqrt } = Math;

/** Normally distributed numbers (Box and Muller), the same at every run. */
export function normalNumbers(count: number, deviation: number, seed: number): Float32Array {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: count }, () =>
    fround(deviation * sqrt(-2 * log(1 - random())) * cos(2 * Math.PI * random())),
  );
}

/**
 * Logits as different at each step as a model's: parts of one long random sequence, with a few likely tokens in each,
 * the likeliest of which come again and again, so that penalties matter.
 */
export function logitsOfStep(
  vocabulary: number,
  deviation: number,
  seed: number,
): (step: number) => Float32Array {
  const numbers = normalNumbers(3 * vocabulary, deviation, seed);
  const random = randomNumbers(seed);
  return (step) => {
    const start = (step * 7919) % (2 * vocabulary);
    const logits = numbers.slice(start, start + vocabulary);
    for (let i = 0; i < 5; i++) {
      const token = Math.floor(i < 2 ? (i * vocabulary) / 3 : random() * vocabulary);
      logits[token] = 4 * deviation + random();
    }
    return logits;
  };
}

/** The tokens that a sampler draws of one and the same logits. */
export function draw(sampler: Sampler, logits: Float32Array, count: number): number[] {
  return Array.from({ length: count }, () => sampler.sample(logits));
}

/** Logits of these probabilities. */
export function logs(...probabilities: number[]): Float32Array {
  return Float32Array.from(probabilities, (p) => log(p));
}
