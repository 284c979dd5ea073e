/** What a file can be packed as: codes with scales, the very bytes that kernels read. */
export const quantizedPrecisions = ['int8', 'int4'] as const;

export type QuantizedPrecision = (typeof quantizedPrecisions)[number];

export function isQuantized(text: string | undefined): text is QuantizedPrecision {
  return quantizedPrecisions.some((precision) => precision === text);
}
