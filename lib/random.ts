import { randomBytes } from 'node:crypto';

/** A seed that nobody chose: 53 random bits, so that it can be written down as a plain number. */
export function randomSeed(): bigint {
  return randomBytes(8).readBigUInt64LE() >> 11n;
}
