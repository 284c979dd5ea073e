import { randomModel, randomTokens } from '../support/random-model';
import { mean } from './quality';
import { allLogits, temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();
const shape = { layers: 2, embedding: 64, headSize: 16, feedForward: 224, vocabulary: 300 } as const;

describe.each([
  { quantized: 'int8', most: 0.02 },
  { quantized: 'int4', most: 0.1 },
] as const)('weights: $quantized', ({ quantized, most }) => {
  test.each([
    ['activations of 1e4', 1e4],
    ['all zero', 0],
    ['denormal', 1e-40],
  ])('gives numbers where norms make %s', async (_what, size) => {
    const tensors = randomModel({ ...shape, type: 'f32', seed: 5 }).map((tensor) => {
      if (!/(ln[12]|ln_out|ln_x)\.weight$/.test(tensor.name)) return tensor;
      return { ...tensor, data: tensor.data.map((value) => value * size) };
    });
    const path = await writeTensors(folder, `sized-${size}`, 'pth', tensors);
    await withModel(path, { weights: quantized }, async (model) => {
      const logits = await allLogits(model.createSession(), randomTokens(40, shape.vocabulary, 2));
      expect(logits.every(Number.isFinite)).toBe(true);
    });
  });

  test('takes rows, groups and blocks of zeros and denormal weights', async () => {
    const tensors = randomModel({ ...shape, type: 'f32', seed: 6 }).map((tensor) => {
      if (tensor.shape.length !== 2 || tensor.name.includes('time_')) return tensor;
      const columns = tensor.shape[1]!;
      return {
        ...tensor,
        data: tensor.data.map((value, i) => {
          const [line, column] = [Math.floor(i / columns), i % columns];
          if (line % 5 === 0) return 0;
          if (line % 5 === 1 && column < 16) return 0;
          return line % 5 === 2 && column >= 32 ? 1e-41 : value;
        }),
      };
    });
    const path = await writeTensors(folder, 'zeros', 'pth', tensors);
    const tokens = randomTokens(40, shape.vocabulary, 2);
    const logits = async (weights: typeof quantized | 'f32'): Promise<Float32Array> =>
      await withModel(path, { weights }, (model) => allLogits(model.createSession(), tokens));
    const [exact, found] = [await logits('f32'), await logits(quantized)];
    expect(found.every(Number.isFinite)).toBe(true);
    // Rows of the head that are zero give logits that are zero.
    expect(found.every((value, i) => (i % shape.vocabulary) % 5 !== 0 || value === 0)).toBe(true);
    const apart = mean([...exact].map((value, i) => (value - (found[i] ?? NaN)) ** 2));
    expect(apart).toBeLessThan(most * mean([...exact].map((value) => value ** 2)));
  });
});
