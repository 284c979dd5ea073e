/** What a file can be packed as: codes with scales, the very bytes that kernels read. */
export const quantizedPrecisions = ['int8', 'int4'] as const;

/** What a file's elements can be written as, one by one. */
const elementTypes = ['f32', 'f16', 'bf16'] as const;

export type ElementType = (typeof elementTypes)[number];

/** What weights can be written as. */
export const writtenAs = [...elementTypes, ...quantizedPrecisions] as const;

export type QuantizedPrecision = (typeof quantizedPrecisions)[number];

export function isQuantized(text: string | undefined): text is QuantizedPrecision {
  return quantizedPrecisions.some((precision) => precision === text);
}
