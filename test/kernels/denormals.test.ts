import { kernels } from '../../lib/index';
import { sameBits } from '../support/compare';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import { unless } from '../support/unless';

const onGpu = unless(withoutSimulatedCuda);

/** Below the least normal float, 1.2e-38. */
const denormal = 2e-39;

/** Every sum is 16 * 2 ** -20 * (denormal * 2 ** 16), the denormal. */
const [tokens, rows, columns] = [64, 512, 16];
const gemm = {
  activations: new Float32Array(tokens * columns).fill(2 ** -20),
  weights: {
    values: new Int8Array(rows * columns).fill(1),
    scales: new Float32Array(rows).fill(denormal * 2 ** 16),
  },
  ...{ tokens, rows, columns },
};

/** The state decays to a denormal within a token, and adds nothing that is larger. */
const wkv = {
  r: new Float32Array([1]),
  k: new Float32Array([0]),
  v: new Float32Array([0]),
  w: new Float32Array([2 ** -10]),
  u: new Float32Array([0]),
  state: new Float32Array([denormal * 2 ** 10]),
  ...{ batch: 1, tokens: 1, heads: 1, headSize: 1 },
};

/** In float32 arithmetic and in float64. */
function expectDenormals(): void {
  const floats = new Float32Array([denormal, 2 ** -130]);
  expect(floats[0]! * 2 ** 40).toBeCloseTo(denormal * 2 ** 40, 30);
  expect(Math.fround(floats[1]! * Math.fround(0.5))).toBe(2 ** -131);
  expect(Math.fround(1e-40)).not.toBe(0);
  const least = new Float64Array([5e-324]);
  expect(least[0]! * 1).not.toBe(0);
  expect(least[0]! + least[0]!).toBe(1e-323);
}

describe('Denormal results of kernels are zero, as they are in a model:', () => {
  test('those of gemmInt8, whichever thread computes them', () => {
    for (let i = 0; i < 200; i++) {
      const output = kernels.gemmInt8(gemm);
      expect(sameBits(output, new Float32Array(tokens * rows))).toBe(true);
    }
  });

  test('the state of wkv5', () => {
    expect(kernels.wkv5(wkv).state).toEqual(new Float32Array(1));
  });

  onGpu('on a (simulated) GPU too', async () => {
    await withCudaLibrary(simulatedCuda, () => {
      expect(sameBits(kernels.gemmInt8({ ...gemm, device: 'cuda' }), kernels.gemmInt8(gemm))).toBe(true);
      expect(kernels.wkv5({ ...wkv, device: 'cuda' }).state).toEqual(new Float32Array(1));
    });
  });
});

test('JavaScript has its denormals after a kernel', () => {
  expectDenormals();
  kernels.gemmInt8(gemm);
  expectDenormals();
  kernels.wkv5(wkv);
  expectDenormals();
  kernels.quantizeInt8(gemm.activations, { rows: tokens, columns });
  expectDenormals();
});
