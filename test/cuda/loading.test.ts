import os from 'node:os';
import { join } from 'node:path';
import { convertModel, kernels, loadModel, type LoadOptions, type LoadProgress } from '../../lib/index';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import { writeEmptyModel } from '../support/empty-model';
import { rejection } from '../support/failure';
import { unless } from '../support/unless';
import { allLogits, runChild, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const testOnGpu = unless(withoutSimulatedCuda);

const large = join(folder, 'large.safetensors');
let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
  // In int8 68 MB, matrices of at most 4 MB.
  writeEmptyModel(large, { layers: 5, embedding: 1024, feedForward: 3584, vocabulary: 256 });
});
afterEach(() => {
  jest.restoreAllMocks();
});

function freeOnGpu(): Promise<number> {
  return withCudaLibrary(simulatedCuda, () => {
    const { cuda } = kernels.features();
    return cuda.available ? cuda.devices[0]!.freeMemory : NaN;
  });
}

function load(file: string, options: LoadOptions = {}): ReturnType<typeof loadModel> {
  return withCudaLibrary(simulatedCuda, () => loadModel(file, { device: 'cuda', ...options }));
}

describe('Loading a model on a (simulated) GPU', () => {
  testOnGpu('never has the weights in memory: each matrix goes there when it is quantized', async () => {
    const packed = join(folder, 'packed.safetensors');
    await convertModel(large, packed, { weights: 'int8' });
    for (const file of [large, packed]) {
      const { code, stdout, stderr } = await runChild(join(__dirname, 'child-upload.ts'), [file], {
        environment: { WKV_CUDA_LIBRARY: simulatedCuda },
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const { grown, onGpu } = JSON.parse(stdout) as Record<'grown' | 'onGpu', number>;
      expect(onGpu).toBeGreaterThan(60e6);
      // A few matrices, and the pieces that are being read.
      expect(grown - onGpu).toBeLessThan(24e6);
    }
  });

  testOnGpu('does not ask for memory that the weights will not take', async () => {
    jest.spyOn(os, 'freemem').mockImplementation(() => 1000);
    const model = await load(path);
    expect(model.info.weightBytes).toBeGreaterThan(1000);
    await model.dispose();
  });

  testOnGpu('gives the same bits from every file, with and without a mapping', async () => {
    const packed = join(folder, 'int8.safetensors');
    await convertModel(path, packed, { weights: 'int8' });
    const logits = async (file: string, options?: LoadOptions): Promise<Float32Array> => {
      const model = await load(file, options);
      const result = await allLogits(model.createSession(), [5, 17, 200, 3]);
      await model.dispose();
      return result;
    };
    const expected = await logits(path, { threads: 1 });
    expect(await logits(path, { threads: 3 })).toEqual(expected);
    expect(await logits(packed)).toEqual(expected);
    expect(await logits(packed, { mmap: false })).toEqual(expected);
  });

  testOnGpu('frees what is there already when it is aborted', async () => {
    const free = await freeOnGpu();
    const controller = new AbortController();
    const reason = new Error('enough');
    let least = Infinity;
    const onProgress = ({ completed, total }: LoadProgress): void => {
      if (completed < total / 3) return;
      void freeOnGpu().then((bytes) => (least = Math.min(least, bytes)));
      controller.abort(reason);
    };
    expect(await rejection(() => load(large, { onProgress, signal: controller.signal }))).toBe(reason);
    expect(await freeOnGpu()).toBe(free);
    // It had begun to put weights there.
    expect(least).toBeLessThan(free - 4e6);
  });
});
