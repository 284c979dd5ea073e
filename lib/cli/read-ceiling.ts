import { library } from './library';

/** Twice of what measuring takes at most, so that it is in nobody's way. */
const enoughBytes = 2 ** 30;

/**
 * How many bytes of memory a second so many threads read together at most: an estimate. Takes some tenths of a second;
 * null where too little memory is free.
 */
export async function readCeiling(threads: number): Promise<number | null> {
  const { native, usableMemory } = library();
  return usableMemory() > enoughBytes ? native.measureRead(threads) : null;
}
