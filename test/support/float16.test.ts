import { bitsToFloat, decodeFloats, encodeFloats, floatToBits } from './float16';

describe('conversion to 16-bit floats', () => {
  test.each([
    ['one', 1, 0x3c00],
    ['minus two', -2, 0xc000],
    ['the largest number', 65504, 0x7bff],
    ['what rounds up to infinity', 65520, 0x7c00],
    ['what is just below that', 65519.99, 0x7bff],
    ['the smallest normal number', 2 ** -14, 0x0400],
    ['the largest subnormal number', 2 ** -14 - 2 ** -24, 0x03ff],
    ['the smallest subnormal number', 2 ** -24, 0x0001],
    ['half of it, a tie with zero', 2 ** -25, 0x0000],
    ['a tie that goes down to even', 1 + 2 ** -11, 0x3c00],
    ['a tie that goes up to even', 1 + 3 * 2 ** -11, 0x3c02],
    ['just above a tie, which float32 would round onto it', 1 + 2 ** -11 + 2 ** -40, 0x3c01],
    ['minus zero', -0, 0x8000],
    ['minus infinity', -Infinity, 0xfc00],
  ])('writes %s as f16', (_, value, bits) => {
    expect(floatToBits('f16', value)).toBe(bits);
  });

  test.each([
    ['one', 1, 0x3f80],
    ['a tie that goes down to even', 1 + 2 ** -8, 0x3f80],
    ['a tie that goes up to even', 1 + 3 * 2 ** -8, 0x3f82],
    ['what carries into the exponent', 2 - 2 ** -9, 0x4000],
    ['-1e30', -1e30, 0xf14a],
    ['the smallest subnormal number', 2 ** -133, 0x0001],
    ['infinity', Infinity, 0x7f80],
  ])('writes %s as bf16', (_, value, bits) => {
    expect(floatToBits('bf16', value)).toBe(bits);
  });

  test.each([0.1, -1 / 3, 1e-40, 3.4e38, 2 ** -149, 16777217, 1e39])(
    'writes %d as f32 as Math.fround does',
    (value) => {
      expect(bitsToFloat('f32', floatToBits('f32', value))).toBe(Math.fround(value));
    },
  );

  test.each(['f32', 'f16', 'bf16'] as const)('writes and reads arrays of %s', (type) => {
    expect([...decodeFloats(type, encodeFloats(type, [1, -0.5, 0, 96, -Infinity]))]).toEqual([
      1,
      -0.5,
      0,
      96,
      -Infinity,
    ]);
  });

  test.each(['f16', 'bf16'] as const)('reads every number of %s back as it was', (type) => {
    const all = Array.from({ length: 65536 }, (_, bits) => bits);
    const changed = all.filter((bits) => {
      const value = bitsToFloat(type, bits);
      return !Number.isNaN(value) && floatToBits(type, value) !== bits;
    });
    expect(changed).toEqual([]);
  });

  test('reads NaN as NaN', () => {
    expect([...decodeFloats('f16', encodeFloats('f16', [NaN]))]).toEqual([NaN]);
  });
});
