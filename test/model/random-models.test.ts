import { sameBits, largestDifference } from '../support/compare';
import { randomModel, randomTokens, type RandomModelShape } from '../support/random-model';
import { allLogits, oracle, row, temporaryFolder, withModel, writeTensors } from './support';

/**
 * Logits of about +-10 in float32 against float64: an ulp there is 1e-6, and errors of the layers add up to some
 * tens of them. The weights are the same to the last bit, so that 16-bit files get no more room than f32 ones.
 */
const tolerance = 1e-4;

type Type = RandomModelShape['type'];
type Model = [
  layers: number,
  D: number,
  N: number,
  F: number,
  V: number,
  type: Type,
  tokens: number,
  H?: number,
];

const models: Model[] = [
  [1, 64, 8, 224, 256, 'f32', 70],
  [2, 64, 32, 256, 300, 'f16', 70],
  [2, 192, 64, 672, 509, 'bf16', 40],
  [1, 192, 8, 333, 300, 'mixed', 40],
  [4, 320, 32, 1120, 509, 'f32', 40],
  [1, 320, 64, 1280, 256, 'f16', 40],
  [1, 64, 64, 97, 65_536, 'f32', 5],
  // Fewer and more channels in the heads than in the embedding.
  [2, 64, 8, 96, 70, 'f32', 40, 3],
  [2, 40, 16, 96, 70, 'f32', 40, 4],
  // Widths that no vector register divides, and the smallest of everything.
  [3, 15, 5, 7, 11, 'f32', 70],
  [3, 66, 33, 101, 257, 'bf16', 70],
  [1, 129, 129, 35, 300, 'f16', 40],
  [1, 2, 2, 1, 1, 'f32', 70],
];

const folder = temporaryFolder();

describe.each(models)(
  'A random model: %d layers, embedding %d, heads of %d, feed-forward %d, vocabulary %d, %s',
  (layers, embedding, headSize, feedForward, vocabulary, type, count, heads = embedding / headSize) => {
    const seed = layers + embedding + headSize + feedForward;
    const shape: RandomModelShape = {
      layers,
      embedding,
      headSize,
      heads,
      feedForward,
      vocabulary,
      type,
      seed,
    };
    /** Kept as the file has most of them. */
    const weights = type === 'mixed' ? 'bf16' : type;
    const tensors = randomModel(shape);
    const tokens = randomTokens(count, vocabulary, seed);
    const expected = oracle(tensors, tokens);

    test.each(['pth', 'safetensors'] as const)(
      'from .%s agrees with the oracle at every position',
      async (container) => {
        const path = await writeTensors(folder, `model-${seed}`, container, tensors);
        await withModel(path, { weights }, async (model) => {
          expect(model.info).toMatchObject({ architecture: 'rwkv5', version: '5.2' });
          expect(model.info).toMatchObject({ layers, embedding, heads, headSize, feedForward, vocabulary });
          expect(model.info.parameters).toBe(tensors.reduce((sum, { data }) => sum + data.length, 0));
          const session = model.createSession();
          const logits = await allLogits(session, tokens);
          expect(logits).toHaveLength(count * vocabulary);
          const differences = expected.logits.map((reference, i) =>
            largestDifference(row(logits, i, vocabulary), reference),
          );
          expect(Math.max(...differences)).toBeLessThanOrEqual(tolerance);
          expect(largestDifference(session.state.values(), expected.state)).toBeLessThanOrEqual(tolerance);
        });
      },
    );

    test('gives the same bits from .pth and .safetensors', async () => {
      const [pth, safetensors] = await Promise.all(
        ['pth', 'safetensors'].map((container) =>
          withModel(`${folder}/model-${seed}.${container}`, { weights }, async (model) => ({
            logits: await allLogits(model.createSession(), tokens),
            fingerprint: model.info.fingerprint,
          })),
        ),
      );
      expect(pth!.fingerprint).toBe(safetensors!.fingerprint);
      expect(sameBits(pth!.logits, safetensors!.logits)).toBe(true);
    });
  },
);

const usual = { layers: 2, embedding: 64, headSize: 16, feedForward: 224, vocabulary: 300 } as const;

describe('A prompt of many pieces', () => {
  test('agrees with the oracle at every position', async () => {
    const tensors = randomModel({ ...usual, type: 'f32', seed: 19 });
    const tokens = randomTokens(1100, usual.vocabulary, 19);
    const expected = oracle(tensors, tokens);
    const path = await writeTensors(folder, 'long', 'pth', tensors);
    await withModel(path, {}, async (model) => {
      const session = model.createSession();
      const logits = await allLogits(session, tokens);
      const differences = expected.logits.map((reference, i) =>
        largestDifference(row(logits, i, usual.vocabulary), reference),
      );
      expect(Math.max(...differences)).toBeLessThanOrEqual(tolerance);
      // The numbers of a state grow into the hundreds here, where the float32 themselves are 3e-5 apart. Each token
      // rounds by up to 2^-24 of the number, up or down: n of them are off by a few times sqrt(n) of that.
      const largest = expected.state.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const difference = largestDifference(session.state.values(), expected.state);
      expect(difference).toBeLessThanOrEqual(4 * Math.sqrt(tokens.length) * 2 ** -24 * largest);
    });
  });
});

describe('The weights option', () => {
  test.each(['f16', 'bf16'] as const)(
    "'auto' is f32 for a small file of %s; its own type computes the same",
    async (type) => {
      const tensors = randomModel({ ...usual, type, seed: 20 });
      const tokens = randomTokens(30, usual.vocabulary, 1);
      const path = await writeTensors(folder, `weights-${type}`, 'safetensors', tensors);
      const expected = oracle(tensors, tokens).logits.at(-1)!;
      for (const [weights, found] of [
        ['auto', 'f32'],
        [type, type],
        ['f32', 'f32'],
      ] as const) {
        await withModel(path, { weights }, async (model) => {
          expect(model.info.weights).toBe(found);
          const last = await model.createSession().evaluate(tokens);
          expect(largestDifference(last, expected)).toBeLessThanOrEqual(tolerance);
        });
      }
    },
  );

  test.each([
    // Rounding each weight by up to 2^-12 (f16) or 2^-9 (bf16) of itself moves logits of about +-10 by a few
    // times that; a wrong conversion moves them by whole units.
    ['f16', 0.02],
    ['bf16', 0.2],
  ] as const)('%s rounds an f32 file to nearest', async (weights, limit) => {
    const tensors = randomModel({ ...usual, type: 'f32', seed: 21 });
    const tokens = randomTokens(30, usual.vocabulary, 1);
    const path = await writeTensors(folder, `round-${weights}`, 'pth', tensors);
    const expected = oracle(tensors, tokens).logits.at(-1)!;
    await withModel(path, { weights }, async (model) => {
      const difference = largestDifference(await model.createSession().evaluate(tokens), expected);
      expect(difference).toBeLessThan(limit);
      expect(difference).toBeGreaterThan(0);
    });
  });
});
