import { loadModel } from '../../lib/index';
import { randomModel } from '../support/random-model';
import { temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();

const shape = { layers: 2, embedding: 64, headSize: 16, feedForward: 224, vocabulary: 300 } as const;

describe('weights: int4', () => {
  test('takes about half of what int8 takes, and the same fingerprint', async () => {
    const tensors = randomModel({ ...shape, embedding: 256, feedForward: 896, type: 'bf16', seed: 3 });
    const path = await writeTensors(folder, 'sizes', 'pth', tensors);
    const infoOf = (
      weights: 'int4' | 'int8',
    ): ReturnType<typeof loadModel> extends Promise<infer M>
      ? Promise<M extends { info: infer I } ? I : never>
      : never => withModel(path, { weights }, (model) => model.info);
    const [int4, int8] = [await infoOf('int4'), await infoOf('int8')];
    const embedding = 2 * shape.vocabulary * 256;
    expect(int4.weightBytes - embedding).toBeLessThan(0.55 * (int8.weightBytes - embedding));
    expect(int4.fingerprint).toBe(int8.fingerprint);
    expect(int4.weights).toBe('int4');
  });

  test('refuses weights beyond its scales, and says what takes them', async () => {
    const tensors = randomModel({ ...shape, type: 'f32', seed: 7 });
    tensors.find(({ name }) => name === 'blocks.1.ffn.key.weight')!.data[70] = 1e4;
    const path = await writeTensors(folder, 'beyond', 'pth', tensors);
    await expect(loadModel(path, { weights: 'int4' })).rejects.toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      tensor: 'blocks.1.ffn.key.weight',
      message: expect.stringContaining("'int8'") as string,
    });
  });
});
