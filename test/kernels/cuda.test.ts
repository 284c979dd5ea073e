import { kernels, type GemmInt8Arguments, type Wkv5Arguments } from '../../lib/index';
import { sameBits } from '../support/compare';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import { unless } from '../support/unless';
import { randomFloats } from './support';

const onGpu = unless(withoutSimulatedCuda);

/** With WKV_CUDA_LIBRARY set. */
const onSimulatedGpu = <T>(body: () => T): Promise<T> => withCudaLibrary(simulatedCuda, body);

function wkvOf(batch: number, tokens: number, heads: number, headSize: number): Wkv5Arguments {
  const channels = heads * headSize;
  const count = batch * tokens * channels;
  return {
    r: randomFloats(count, 1),
    k: randomFloats(count, 2),
    v: randomFloats(count, 3),
    w: randomFloats(channels, 4).map((value) => Math.exp(-Math.exp(3 * value - 3))),
    u: randomFloats(channels, 5),
    state: randomFloats(batch * channels * headSize, 6),
    ...{ batch, tokens, heads, headSize },
  };
}

function gemmOf(tokens: number, rows: number, columns: number, group: number): GemmInt8Arguments {
  const weights = kernels.quantizeInt8(randomFloats(rows * columns, 2), { rows, columns, group });
  return { activations: randomFloats(tokens * columns, 3), weights, tokens, rows, columns };
}

describe('kernels.wkv5 on a (simulated) GPU', () => {
  for (const [batch, tokens, heads, headSize] of [
    [1, 1, 1, 64],
    [3, 1, 2, 64],
    [2, 20, 2, 64],
    [2, 9, 3, 20],
    [1, 2, 1, 1],
    [1, 3, 1, 300],
  ] as const) {
    onGpu(`has the bits of the CPU: [${batch}, ${tokens}, ${heads}, ${headSize}]`, async () => {
      const wkv = wkvOf(batch, tokens, heads, headSize);
      const before = wkv.state!.slice();
      const expected = kernels.wkv5(wkv);
      const found = await onSimulatedGpu(() => kernels.wkv5({ ...wkv, device: 'cuda' }));
      expect(sameBits(found.y, expected.y)).toBe(true);
      expect(sameBits(found.state, expected.state)).toBe(true);
      expect(sameBits(wkv.state!, before)).toBe(true);
    });
  }

  onGpu('says that a head is too large for it', async () => {
    const wkv = wkvOf(1, 1, 1, 1025);
    expect(kernels.wkv5(wkv).y).toHaveLength(1025);
    const failing = onSimulatedGpu(() => kernels.wkv5({ ...wkv, device: 'cuda' }));
    await expect(failing).rejects.toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      message: 'the CUDA backend takes 1 to 1024 channels in a head, not 1025',
    });
  });
});

describe('kernels.gemmInt8 on a (simulated) GPU', () => {
  for (const [tokens, rows, columns, group] of [
    [1, 33, 64, 0],
    [7, 5, 100, 32],
    [40, 64, 256, 64],
    [130, 40, 333, 16],
    [1, 1, 1, 0],
    [3, 32, 16, 64],
  ] as const) {
    const what = `${tokens} tokens times [${rows}, ${columns}] in groups of ${group}`;
    onGpu(`has the bits of the CPU: ${what}`, async () => {
      const gemm = gemmOf(tokens, rows, columns, group);
      const expected = kernels.gemmInt8(gemm);
      const found = await onSimulatedGpu(() => kernels.gemmInt8({ ...gemm, device: 'cuda:0' }));
      expect(sameBits(found, expected)).toBe(true);
    });
  }

  onGpu('takes more tokens than it computes at once', async () => {
    const gemm = gemmOf(4096 + 5, 3, 16, 0);
    const found = await onSimulatedGpu(() => kernels.gemmInt8({ ...gemm, device: 'cuda' }));
    expect(sameBits(found, kernels.gemmInt8(gemm))).toBe(true);
  });

  onGpu('passes NaN on, as the CPU does', async () => {
    const gemm = gemmOf(2, 32, 32, 0);
    gemm.activations[5] = NaN;
    const expected = kernels.gemmInt8(gemm);
    expect(expected.slice(0, 32).every(Number.isNaN) && expected.slice(32).every(Number.isFinite)).toBe(true);
    const found = await onSimulatedGpu(() => kernels.gemmInt8({ ...gemm, device: 'cuda' }));
    expect([...found]).toEqual([...expected]);
  });
});

describe('Kernels whose GPU cannot be used', () => {
  const f = new Float32Array(4);
  const wkv = { r: f, k: f, v: f, w: f, u: f, batch: 1, tokens: 1, heads: 1, headSize: 4 };
  const weights = kernels.quantizeInt8(f, { rows: 1, columns: 4 });
  const gemm = { activations: f, weights, tokens: 1, rows: 1, columns: 4 };

  test.each<[string, () => unknown]>([
    ['wkv5', () => kernels.wkv5({ ...wkv, device: 'cuda' })],
    ['gemmInt8', () => kernels.gemmInt8({ ...gemm, device: 'cuda' })],
  ])('%s: no library is an error that says so', async (_name, call) => {
    const failing = withCudaLibrary('missing.so', call);
    await expect(failing).rejects.toMatchObject({ code: 'ERR_WKV_DEVICE' });
    await expect(failing).rejects.toThrow(/missing\.so/);
  });

  onGpu('an error names the device that is not there, and those that are', async () => {
    const failing = onSimulatedGpu(() => kernels.wkv5({ ...wkv, device: 'cuda:3' }));
    await expect(failing).rejects.toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: "there is no device 'cuda:3'; there is cuda:0 (Simulated GPU)",
    });
  });

  test('wrong devices are refused by name', () => {
    for (const device of ['gpu', 'cuda:', 1]) {
      expect(() => kernels.wkv5({ ...wkv, device: device as never })).toThrow(/device.*'cuda:0'/);
    }
  });
});
