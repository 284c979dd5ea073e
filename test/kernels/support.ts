import { randomNumbers } from '../support/random-model';

/** Numbers from -scale to scale. */
export function randomFloats(count: number, seed: number, scale = 1): Float32Array {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: count }, () => scale * (2 * random() - 1));
}
