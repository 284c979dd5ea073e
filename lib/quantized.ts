/** What weights can be packed as: codes with scales, the very bytes that kernels read. */
export const quantizedPrecisions = ['int8', 'int4'] as const;

export type QuantizedPrecision = (typeof quantizedPrecisions)[number];

/** What each number of the weights can be by itself. */
const elementTypes = ['f32', 'f16', 'bf16'] as const;

export type ElementType = (typeof elementTypes)[number];

/** What weight matrices can be kept in, and written as. */
export const precisions = [...elementTypes, ...quantizedPrecisions] as const;

export type Precision = (typeof precisions)[number];

export function isQuantized(text: string | undefined): text is QuantizedPrecision {
  return quantizedPrecisions.some((precision) => precision === text);
}
