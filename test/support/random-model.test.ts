import { referenceModel } from '../reference/model';
import { randomModel, randomTokens, referenceTensors, versions } from './random-model';

const shape = { layers: 2, embedding: 64, headSize: 8, feedForward: 224, vocabulary: 300, seed: 1 } as const;

describe('A random model', () => {
  test('is the same for the same seed and another for another', () => {
    const [once, again, other] = [1, 1, 2].map((seed) => randomModel({ ...shape, type: 'f32', seed }));
    expect(once).toEqual(again);
    expect(once).not.toEqual(other);
  });

  test.each([
    ['f16', 11],
    ['bf16', 8],
  ] as const)('of type %s has elements with %d leading bits', (type, bits) => {
    const tooFine = (value: number): boolean => {
      const step = 2 ** (Math.floor(Math.log2(Math.abs(value))) - bits + 1);
      return Math.abs(value) >= 2 ** -14 && !Number.isInteger(value / step);
    };
    const values = randomModel({ ...shape, type }).flatMap(({ data }) => [...data]);
    expect(values.filter(tooFine)).toEqual([]);
  });

  test('is of version 5.2 unless another is asked for', () => {
    const plain = randomModel({ ...shape, type: 'f32' });
    expect(randomModel({ ...shape, type: 'f32', version: '5.2' })).toEqual(plain);
    expect(plain.find(({ name }) => name === 'blocks.1.att.time_decay')?.shape).toEqual([8, 8]);
  });

  test.each(versions)(
    'of version %s gives logits that differ from token to token by about 1 to 10',
    (version) => {
      const model = referenceModel(referenceTensors(randomModel({ ...shape, version, type: 'bf16' })));
      const state = model.initialState();
      for (const token of randomTokens(20, shape.vocabulary, 3)) {
        const logits = model.forward(token, state);
        const mean = logits.reduce((a, b) => a + b) / logits.length;
        const deviation = Math.sqrt(logits.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logits.length);
        expect(deviation).toBeGreaterThan(1);
        expect(deviation).toBeLessThan(10);
      }
    },
  );
});
