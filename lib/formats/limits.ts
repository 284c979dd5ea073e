/**
 * The most bytes that a header (pickle, JSON, zip directory) may have: it is read into memory as a whole, and nothing
 * else happens while it is parsed. Those of RWKV-5 7B have about 0.1 MB.
 */
export const maxHeaderBytes = 32_000_000;

/** The most tensors in one model; RWKV-5 7B has 710. */
export const maxTensors = 100_000;

/** The most dimensions of one tensor; RWKV files have 4 at most. */
export const maxDimensions = 8;

/** The epsilon of all layer norms of RWKV: no other was ever trained with, and the engine has none. */
export const layerNormEpsilon = 1e-5;

/** Whether it is that, maybe rounded to a float. */
export function isLayerNormEpsilon(value: number): boolean {
  return Math.fround(value) === Math.fround(layerNormEpsilon);
}
