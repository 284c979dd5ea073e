import { philox, probabilities, uniform } from '../reference/sampler';

const words = (...hexadecimal: string[]): bigint[] => hexadecimal.map((word) => BigInt(`0x${word}`));

describe("The reference's random numbers", () => {
  // The known answers that the authors of Philox publish with Random123.
  test.each([
    [
      ['0', '0', '0', '0'],
      ['0', '0'],
      ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8'],
    ],
    [
      ['ffffffff', 'ffffffff', 'ffffffff', 'ffffffff'],
      ['ffffffff', 'ffffffff'],
      ['408f276d', '41c83b0e', 'a20bc7c6', '6d5451fd'],
    ],
    [
      ['243f6a88', '85a308d3', '13198a2e', '03707344'],
      ['a4093822', '299f31d0'],
      ['d16cfe09', '94fdcceb', '5001e420', '24126ea1'],
    ],
  ])('are Philox 4x32-10 of counter %p and key %p', (counter, key, expected) => {
    expect(philox(words(...counter), words(...key))).toEqual(words(...expected));
  });

  test('have the first 53 bits', () => {
    expect(uniform(0n, 0n) * 2 ** 53).toBe(Number((0x6627e8d5n << 21n) | (0xe169c58dn >> 11n)));
  });
});

describe("The reference's probabilities", () => {
  // Probabilities 8, 4, 2, 1, 1 of 16.
  const logits = Float64Array.from([8, 4, 2, 1, 1], Math.log);
  const of = (options: Parameters<typeof probabilities>[1]): number[] =>
    Array.from(probabilities(logits, { topP: 1, ...options }), (p) => Math.round(p * 1e9) / 1e9);

  test('are a softmax where nothing narrows them', () => {
    expect(of({})).toEqual([0.5, 0.25, 0.125, 0.0625, 0.0625]);
  });

  test('are narrowed as ChatRWKV does: top-p with ties, then top-k, then the temperature', () => {
    expect(of({ topP: 0.9 })).toEqual([0.5, 0.25, 0.125, 0.0625, 0.0625]);
    expect(of({ topP: 0.8 })).toEqual([4 / 7, 2 / 7, 1 / 7, 0, 0].map((p) => Math.round(p * 1e9) / 1e9));
    expect(of({ topK: 4, temperature: 0.5 })).toEqual(
      [64 / 85, 16 / 85, 4 / 85, 1 / 85, 0].map((p) => Math.round(p * 1e9) / 1e9),
    );
  });

  test('are narrowed by min-p and typical-p', () => {
    expect(of({ minP: 0.3 })).toEqual([2 / 3, 1 / 3, 0, 0, 0].map((p) => Math.round(p * 1e9) / 1e9));
    // The entropy is 1.875 bits: 2 bits are the nearest, then 1, 3 and 4.
    expect(of({ typicalP: 0.2 })).toEqual([0, 1, 0, 0, 0]);
    expect(of({ typicalP: 0.7 })).toEqual([2 / 3, 1 / 3, 0, 0, 0].map((p) => Math.round(p * 1e9) / 1e9));
  });
});
