import { join } from 'node:path';
import { loadModel, State } from '../../lib/index';
import type { Product } from '../reference/common';
import { groupedInt8 } from '../reference/int8';
import { referenceModel } from '../reference/model';
import { largestDifference } from '../support/compare';
import { writeEmptyModel } from '../support/empty-model';
import { randomModel, randomTokens, referenceTensors } from '../support/random-model';
import { allLogits, row, temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();

const shape = { layers: 2, embedding: 64, headSize: 16, feedForward: 224, vocabulary: 300 } as const;

describe('weights: int8', () => {
  test("is what 'auto' means from 100 million parameters on", async () => {
    const path = await writeTensors(folder, 'small', 'pth', randomModel({ ...shape, type: 'bf16', seed: 3 }));
    expect(await withModel(path, {}, ({ info }) => info.weights)).toBe('f32');
    const large = join(folder, 'large.safetensors');
    writeEmptyModel(large, { layers: 1, embedding: 768, feedForward: 32, vocabulary: 65_536 });
    const info = await withModel(large, {}, (model) => model.info);
    expect(info.parameters).toBeGreaterThan(1e8);
    expect(info.weights).toBe('int8');
    // The embedding stays 16-bit; a matrix takes a byte a number and 4 for each group.
    expect(info.weightBytes / info.parameters).toBeLessThan(1.6);
  });

  test('computes what the reference of int8 computes', async () => {
    const tensors = randomModel({ ...shape, layers: 1, type: 'f32', seed: 8 });
    const map = referenceTensors(tensors);
    const tokens = randomTokens(60, shape.vocabulary, 3);
    const logitsOf = (product?: Product): Float64Array[] => {
      const model = referenceModel(map, product === undefined ? {} : { product });
      const state = model.initialState();
      return Array.from(tokens, (token) => model.forward(token, state));
    };
    const [exact, reference] = [logitsOf(), logitsOf(groupedInt8(map))];
    const path = await writeTensors(folder, 'reference', 'pth', tensors);
    const logits = await withModel(path, { weights: 'int8' }, (model) =>
      allLogits(model.createSession(), tokens),
    );
    const median = (other: (i: number) => ArrayLike<number>): number => {
      const differences = reference.map((expected, i) => largestDifference(expected, other(i)));
      return differences.sort((x, y) => x - y)[tokens.length / 2] ?? NaN;
    };
    // In half of the positions no code at all is rounded the other way in float32.
    expect(median((i) => row(logits, i, shape.vocabulary))).toBeLessThan(1e-4);
    expect(median((i) => exact[i]!)).toBeGreaterThan(1e-2);
  });

  test('shares fingerprint and states with the other precisions', async () => {
    const path = await writeTensors(
      folder,
      'shared',
      'pth',
      randomModel({ ...shape, type: 'bf16', seed: 4 }),
    );
    const tokens = randomTokens(20, shape.vocabulary, 1);
    const bytes = await withModel(path, { weights: 'f32' }, async (model) => {
      const session = model.createSession();
      await session.evaluate(tokens);
      return session.state.serialize();
    });
    await withModel(path, { weights: 'int8' }, async (model) => {
      const session = model.createSession({ state: State.deserialize(bytes) });
      const logits = await session.evaluate([1]);
      expect(logits.every(Number.isFinite)).toBe(true);
      expect(Buffer.compare(session.state.serialize(), bytes)).not.toBe(0);
    });
  });

  test('refuses weights that no scale holds', async () => {
    const tensors = randomModel({ ...shape, type: 'f32', seed: 7 });
    tensors.find(({ name }) => name === 'blocks.0.att.key.weight')!.data[70] = 3e38;
    tensors.find(({ name }) => name === 'blocks.0.ln1.weight')!.data.set([1e6], 6);
    const path = await writeTensors(folder, 'beyond', 'pth', tensors);
    await expect(loadModel(path, { weights: 'int8' })).rejects.toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      tensor: 'blocks.0.att.key.weight',
    });
  });
});
