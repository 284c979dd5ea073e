import type { StoredType } from '../../lib/formats/tensor-directory';

/** IEEE 754 binary formats by their widths; all three have a sign bit before these. */
const formats: Readonly<Record<StoredType, { exponentBits: number; fractionBits: number }>> = {
  f32: { exponentBits: 8, fractionBits: 23 },
  f16: { exponentBits: 5, fractionBits: 10 },
  bf16: { exponentBits: 8, fractionBits: 7 },
};

/** The bits of `value`, rounded once from float64 to nearest, ties to even. */
export function floatToBits(type: StoredType, value: number): number {
  const { exponentBits, fractionBits } = formats[type];
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = value < 0 || Object.is(value, -0) ? 2 ** (exponentBits + fractionBits) : 0;
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits;
  if (Number.isNaN(value)) return infinity + 2 ** (fractionBits - 1);
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign + infinity;
  const exponent = Math.max(exponentOf(magnitude), 1 - bias);
  // In units of the last place; scaling by powers of two is exact. Rounding up may carry into the exponent.
  const units = roundTiesToEven(magnitude * 2 ** -exponent * 2 ** fractionBits);
  return sign + Math.min((exponent + bias - 1) * 2 ** fractionBits + units, infinity);
}

/** The value of some bits, exactly. */
export function bitsToFloat(type: StoredType, bits: number): number {
  const { exponentBits, fractionBits } = formats[type];
  const bias = 2 ** (exponentBits - 1) - 1;
  const fraction = bits % 2 ** fractionBits;
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits;
  const sign = bits >= 2 ** (exponentBits + fractionBits) ? -1 : 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  const units = exponent === 0 ? fraction : fraction + 2 ** fractionBits;
  return sign * units * 2 ** (Math.max(exponent, 1) - bias - fractionBits);
}

/** The value that is left of `value` when it is stored in a type. */
export function roundTo(type: StoredType, value: number): number {
  return bitsToFloat(type, floatToBits(type, value));
}

/** Little-endian bytes of the values, each rounded to nearest, ties to even. */
export function encodeFloats(type: StoredType, values: ArrayLike<number>): Buffer {
  // A Float32Array rounds in the same way, and faster.
  if (type === 'f32') return Buffer.from(Float32Array.from(values).buffer);
  const bits = new Uint16Array(values.length);
  for (let index = 0; index < values.length; index++) bits[index] = floatToBits(type, values[index] ?? NaN);
  return Buffer.from(bits.buffer);
}

/** The values of little-endian bytes, exactly. */
export function decodeFloats(type: StoredType, buffer: Buffer): Float64Array {
  const bytes = type === 'f32' ? 4 : 2;
  const values = new Float64Array(buffer.length / bytes);
  for (let index = 0; index < values.length; index++) {
    values[index] = bitsToFloat(type, buffer.readUIntLE(index * bytes, bytes));
  }
  return values;
}

const float64 = new DataView(new ArrayBuffer(8));

/** The largest e with 2^e <= magnitude; less than any exponent of the types here for subnormal float64. */
function exponentOf(magnitude: number): number {
  float64.setFloat64(0, magnitude);
  return (float64.getUint16(0) >> 4) - 1023;
}

function roundTiesToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
