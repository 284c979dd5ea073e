import { sameBits, largestDifference } from '../support/compare';
import { randomModel, randomTokens, type RandomModelShape, type Version } from '../support/random-model';
import { allLogits, oracle, row, temporaryFolder, withModel, writeTensors } from '../support/model';

/**
 * Logits of about +-10 in float32 against float64: an ulp there is 1e-6, and errors of the layers add up to some
 * tens of them. The weights are the same to the last bit, so that 16-bit files get no more room than f32 ones.
 */
const tolerance = 1e-4;

type Model = [
  version: Version,
  layers: number,
  D: number,
  N: number,
  F: number,
  V: number,
  type: RandomModelShape['type'],
  tokens: number,
  more?: Partial<RandomModelShape>,
];

/**
 * Widths that no vector register divides, one head and many, heads of one channel and of 129, low-rank products of odd
 * ranks. The attention of versions 4 and 7 is as wide as the embedding; in the others it may be wider or narrower.
 */
const models: Model[] = [
  ['5.2', 1, 64, 8, 224, 256, 'f32', 70],
  ['5.2', 2, 64, 32, 256, 300, 'f16', 70],
  ['5.2', 2, 192, 64, 672, 509, 'bf16', 40],
  ['5.2', 1, 192, 8, 333, 300, 'mixed', 40],
  ['5.2', 4, 320, 32, 1120, 509, 'f32', 40],
  ['5.2', 1, 320, 64, 1280, 256, 'f16', 40],
  ['5.2', 1, 64, 64, 97, 65_536, 'f32', 5],
  ['5.2', 2, 64, 8, 96, 70, 'f32', 40, { heads: 3 }],
  ['5.2', 2, 40, 16, 96, 70, 'f32', 40, { heads: 4 }],
  ['5.2', 3, 15, 5, 7, 11, 'f32', 70],
  ['5.2', 3, 66, 33, 101, 257, 'bf16', 70],
  ['5.2', 1, 129, 129, 35, 300, 'f16', 40],
  ['5.2', 1, 2, 2, 1, 1, 'f32', 70],

  ['4', 2, 128, 64, 256, 256, 'f32', 70],
  ['4', 3, 15, 5, 7, 11, 'mixed', 70],
  ['4', 2, 66, 33, 101, 257, 'bf16', 70],
  ['4', 1, 129, 129, 35, 300, 'f16', 40],
  ['4', 1, 2, 2, 1, 1, 'f32', 70],

  ['5.0', 2, 128, 64, 224, 256, 'f32', 40, { timeFirst: true }],
  ['5.0', 3, 15, 1, 7, 11, 'mixed', 70],
  ['5.0', 2, 66, 33, 101, 257, 'bf16', 70, { timeFirst: true }],
  ['5.0', 1, 129, 129, 35, 300, 'f16', 40],
  ['5.0', 2, 64, 8, 96, 70, 'f32', 40, { heads: 3 }],

  ['5.1', 2, 128, 64, 224, 256, 'f32', 40],
  ['5.1', 3, 15, 1, 7, 11, 'mixed', 70],
  ['5.1', 2, 66, 33, 101, 257, 'bf16', 70],
  ['5.1', 1, 129, 129, 35, 300, 'f16', 40],
  ['5.1', 2, 40, 16, 96, 70, 'f32', 40, { heads: 4 }],

  ['6', 2, 128, 64, 224, 256, 'f32', 40, { ranks: { mix: 32, decay: 64 } }],
  ['6', 3, 15, 1, 7, 11, 'mixed', 70, { ranks: { mix: 1, decay: 1 } }],
  ['6', 2, 66, 33, 101, 257, 'bf16', 70, { ranks: { mix: 3, decay: 7 } }],
  ['6', 1, 129, 129, 35, 300, 'f16', 40, { ranks: { mix: 17, decay: 33 } }],
  ['6', 2, 64, 8, 96, 70, 'f32', 40, { heads: 3 }],
  ['6', 2, 40, 16, 96, 70, 'f32', 40, { heads: 4 }],

  ['7', 2, 128, 64, 256, 256, 'f32', 40, { ranks: { w: 64, a: 64, v: 32, g: 128 } }],
  ['7', 3, 15, 1, 7, 11, 'mixed', 70, { ranks: { w: 1, a: 2, v: 3, g: 5 } }],
  ['7', 3, 66, 33, 101, 257, 'bf16', 70, { ranks: { w: 3, a: 7, v: 33, g: 17 }, unusedValues: false }],
  ['7', 1, 129, 129, 35, 300, 'f16', 40, { unusedValues: false }],
  ['7', 4, 40, 8, 96, 70, 'f32', 70],
];

const folder = temporaryFolder();

describe.each(models)(
  'A random model of version %s: %d layers, embedding %d, heads of %d, feed-forward %d, vocabulary %d, %s',
  (version, layers, embedding, headSize, feedForward, vocabulary, type, count, more = {}) => {
    const seed = layers + embedding + headSize + feedForward;
    const name = `model-${version}-${seed}`;
    const shape = { version, layers, embedding, headSize, feedForward, vocabulary, type, seed, ...more };
    /** Kept as the file has most of them. */
    const weights = type === 'mixed' ? 'bf16' : type;
    const tensors = randomModel(shape);
    const tokens = randomTokens(count, vocabulary, seed);
    const expected = oracle(tensors, tokens);
    const containers = ['pth', 'safetensors'] as const;
    beforeAll(async () => {
      for (const container of containers) await writeTensors(folder, name, container, tensors);
    });

    test.each(containers)('from .%s agrees with the oracle at every position', async (container) => {
      await withModel(`${folder}/${name}.${container}`, { weights }, async (model) => {
        expect(model.info).toMatchObject({ architecture: `rwkv${version.charAt(0)}`, version });
        expect(model.info).toMatchObject({ layers, embedding, feedForward, vocabulary });
        if (version !== '4') {
          expect(model.info).toMatchObject({ heads: more.heads ?? embedding / headSize, headSize });
        }
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
    });

    test('gives the same bits from .pth and .safetensors', async () => {
      const [pth, safetensors] = await Promise.all(
        containers.map((container) =>
          withModel(`${folder}/${name}.${container}`, { weights }, async (model) => ({
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
