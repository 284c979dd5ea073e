import { blockTypes, decodeBlocks, encodeBlocks } from './ggml-blocks';

/** Between steps of a quantizer, as parts of the largest number. */
const steps = {
  ...{ q8_0: 127, q4_0: 8, q4_1: 7, q5_0: 16, q5_1: 15, q2_k: 1.5, q3_k: 4, q4_k: 7, q5_k: 15, q6_k: 31 },
  ...{ iq4_nl: 8, iq4_xs: 8 },
};

test.each(blockTypes)('%s gives back what it was given, to a step', (type) => {
  const values = Array.from({ length: 512 }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 5)) * 0.2);
  const decoded = decodeBlocks(type, encodeBlocks(type, values));
  const worst = Math.max(...values.map((value, i) => Math.abs(value - decoded[i]!)));
  expect(worst).toBeLessThan(1.3 / steps[type]);
  expect(new Set(decoded).size).toBeGreaterThan(16);
});

test.each(blockTypes)('%s has blocks of zeros', (type) => {
  const decoded = decodeBlocks(type, encodeBlocks(type, new Float64Array(256)));
  expect([...decoded].filter((value) => value !== 0)).toEqual([]);
});
