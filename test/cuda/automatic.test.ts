import { join } from 'node:path';
import { convertModel, loadModel, type LoadOptions, type ModelInfo } from '../../lib/index';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import { rejection } from '../support/failure';
import { unless } from '../support/unless';
import { allLogits, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const testOnGpu = unless(withoutSimulatedCuda);

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

function load(
  file: string,
  options: LoadOptions = {},
  library = simulatedCuda,
): ReturnType<typeof loadModel> {
  return withCudaLibrary(library, () => loadModel(file, options));
}

async function deviceOf(file: string, options?: LoadOptions): Promise<ModelInfo['device']> {
  const model = await load(file, options);
  await model.createSession().evaluate([1, 2]);
  await model.dispose();
  return model.info.device;
}

describe("device: 'auto', with a (simulated) GPU", () => {
  testOnGpu('is the GPU for a model in int8, with the bits of the CPU', async () => {
    const logits: Float32Array[] = [];
    for (const options of [{}, { device: 'auto' }, { device: 'cpu' }] as const) {
      const model = await load(path, { weights: 'int8', ...options });
      expect(model.info.device).toBe('device' in options && options.device === 'cpu' ? 'cpu' : 'cuda:0');
      logits.push(await allLogits(model.createSession(), [5, 17, 200, 3]));
      await model.dispose();
    }
    expect(logits[0]).toEqual(logits[2]);
    expect(logits[1]).toEqual(logits[2]);
  });

  testOnGpu('is the GPU for a packed file in int8, and the CPU for one in int4', async () => {
    for (const [weights, device] of [
      ['int8', 'cuda:0'],
      ['int4', 'cpu'],
    ] as const) {
      const packed = join(folder, `${weights}.safetensors`);
      await convertModel(path, packed, { weights });
      expect(await deviceOf(packed)).toBe(device);
    }
  });

  testOnGpu('is the CPU for a model that is in something else there', async () => {
    expect(await deviceOf(path)).toBe('cpu');
    expect(await deviceOf(path, { weights: 'bf16' })).toBe('cpu');
  });

  testOnGpu(
    'is the CPU where the GPU has no room for the sessions of a step, unless it is there',
    async () => {
      const file = await writeRandomModel(folder, 'large-state', {
        ...smallShape,
        ...{ embedding: 128, headSize: 64 },
      });
      expect(await deviceOf(file, { weights: 'int8' })).toBe('cuda:0');
      const options = { weights: 'int8', maxBatch: 65_536 } as const;
      expect(await deviceOf(file, options)).toBe('cpu');
      // A second copy of its weights would take more than sessions lack.
      const first = await load(file, { weights: 'int8', device: 'cuda' });
      expect(await deviceOf(file, options)).toBe('cuda:0');
      await first.dispose();
    },
  );

  testOnGpu('is the CPU for dimensions that the kernels do not take', async () => {
    const file = await writeRandomModel(folder, 'large-head', {
      ...smallShape,
      ...{ layers: 1, embedding: 1040, headSize: 1040, feedForward: 16 },
    });
    expect(await deviceOf(file, { weights: 'int8', maxBatch: 1 })).toBe('cpu');
    const refused = rejection(() => load(file, { weights: 'int8', device: 'cuda' }));
    expect(await refused).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED' });
  });

  testOnGpu('is where the process has the model already', async () => {
    for (const device of ['cpu', 'cuda'] as const) {
      const first = await load(path, { weights: 'int8', device });
      expect(await deviceOf(path, { weights: 'int8' })).toBe(first.info.device);
      await first.dispose();
    }
  });

  test('is the CPU where there is no library', async () => {
    const model = await load(path, { weights: 'int8' }, join(folder, 'missing.so'));
    expect(model.info.device).toBe('cpu');
    await model.dispose();
  });

  testOnGpu('says what is wrong with a file as the CPU does', async () => {
    expect(await rejection(() => load(join(folder, 'missing.pth')))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      message: expect.stringContaining('missing.pth') as string,
    });
  });
});
