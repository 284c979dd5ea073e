import { join } from 'node:path';
import { simulatedCuda, withoutSimulatedCuda } from '../support/cuda';
import { unless } from '../support/unless';
import { runChild, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const testOnGpu = unless(withoutSimulatedCuda);

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

/** What child-gpu.ts prints on a machine with this GPU. */
async function on(
  gpu: string,
  mode: 'load' | 'choose' | 'lose' | 'measure' | 'auto' | 'fill',
): Promise<unknown> {
  const environment = { WKV_CUDA_LIBRARY: simulatedCuda, WKV_SIMULATED_GPU: gpu };
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-gpu.ts'), [path, mode], {
    environment,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

describe('Where the (simulated) GPU cannot be used, a model is refused with a reason:', () => {
  const machines = {
    'driver=0': 'there is no NVIDIA driver on this machine',
    'driver=12040': 'the NVIDIA driver is too old: it supports CUDA 12.4, and the library needs CUDA 13.0',
    'devices=0': 'there is no NVIDIA GPU on this machine',
    'architecture=61':
      'the library has no code for the Simulated GPU, compute capability 6.1; it has code for 7.5, 8.x, 9.0, 10.x and 12.0 or later',
  };
  for (const [gpu, message] of Object.entries(machines)) {
    testOnGpu(`${gpu}: ${message}`, async () => {
      expect(await on(gpu, 'load')).toEqual({
        failed: { code: 'ERR_WKV_DEVICE', message },
        features: message,
      });
    });
  }

  testOnGpu('one of two that it has no code for, while the other is used', async () => {
    const reason =
      'the library has no code for the Simulated GPU, compute capability 6.1; it has code for 7.5, 8.x, 9.0, 10.x and 12.0 or later';
    expect(await on('devices=2,old_device=0', 'choose')).toEqual({
      cuda: 'cuda:1',
      'cuda:1': 'cuda:1',
      'cuda:0': { code: 'ERR_WKV_DEVICE', message: `${reason}; there is cuda:1 (Simulated GPU)` },
      'cuda:2': {
        code: 'ERR_WKV_DEVICE',
        message: "there is no device 'cuda:2'; there is cuda:1 (Simulated GPU)",
      },
      features: { usable: ['cuda:1'], unusable: [{ device: 'cuda:0', reason }] },
    });
  });

  const memories = {
    'memory=1000': "the weights take 0 MiB as int8, but only 0 MiB of the Simulated GPU's memory are free",
    'memory=300000':
      'there is not enough memory on the GPU while making room for a step: 0 of 0 MiB are free',
  };
  for (const [gpu, message] of Object.entries(memories)) {
    testOnGpu(`${gpu}: ${message}`, async () => {
      const failed = { code: 'ERR_WKV_DEVICE', message };
      expect(await on(gpu, 'load')).toEqual({ failed, features: 'available' });
    });
  }

  testOnGpu('a GPU that is lost while weights go there', async () => {
    const message = 'the GPU failed while loading weights: cudaErrorLaunchFailure, as simulated';
    expect(await on('lost_after=10', 'load')).toEqual({
      failed: { code: 'ERR_WKV_DEVICE', message },
      features: expect.stringMatching(/^the GPU failed while /) as string,
    });
  });
});

describe('A (simulated) GPU that is lost', () => {
  testOnGpu('is refused until the process ends, while the CPU goes on', async () => {
    const { failures, features } = (await on('lost_after=80', 'lose')) as Record<string, unknown>;
    const lost = expect.stringMatching(
      /^the GPU failed while .*: cudaErrorLaunchFailure, as simulated$/,
    ) as string;
    expect(failures).toEqual(Array.from({ length: 7 }, () => ({ code: 'ERR_WKV_DEVICE', message: lost })));
    expect(features).toEqual(lost);
  });
});

describe('A (simulated) GPU that is full', () => {
  testOnGpu(
    'has as many sessions as it was said to have room for, and another when one is gone',
    async () => {
      const { taken, state, free, fitting } = (await on('', 'measure')) as Record<string, number>;
      // Of a session it has the state and the logits.
      const page = state! + 256 * 4;
      // A part of the memory stays free for what CUDA needs later.
      expect(fitting).toBe(Math.floor((free! - 2 ** 30 / 32) / page));
      const message = /^there is not enough memory on the GPU while making room for a session/;
      expect(await on(`memory=${Math.ceil((taken! + 10.5 * page) * (32 / 31))}`, 'fill')).toEqual({
        fitting: 10,
        failed: { code: 'ERR_WKV_DEVICE', message: expect.stringMatching(message) as string },
      });
    },
  );

  testOnGpu("is not what 'auto' takes, unless each session of a step finds room for two states", async () => {
    const { taken, state } = (await on('', 'measure')) as Record<string, number>;
    const memory = (pages: number): string =>
      `memory=${Math.ceil((taken! + pages * (state! + 256 * 4)) * (32 / 31))}`;
    expect(await on(memory(127.5), 'auto')).toEqual({ device: 'cpu' });
    expect(await on(memory(128.5), 'auto')).toEqual({ device: 'cuda:0' });
  });
});
