import { runInNewContext } from 'node:vm';
import { kernels } from '../../lib/index';
import { native } from '../../lib/native';
import { largestDifference, sameBits } from '../support/compare';
import { expectFailure, thrown } from '../support/failure';
import { unless } from '../support/unless';
import { randomFloats } from './support';

describe('kernels.quantizeInt8', () => {
  test.each([
    [5, 40, 0],
    [3, 100, 16],
    [33, 64, 32],
    [1, 1, 0],
  ])('[%d, %d] in groups of %d is within half a step of the matrix', (rows, columns, group) => {
    const matrix = randomFloats(rows * columns, rows);
    const { values, scales, ...rest } = kernels.quantizeInt8(matrix, { rows, columns, group });
    expect(rest).toEqual({ group });
    const width = group === 0 ? columns : group;
    const groups = Math.ceil(columns / width);
    expect(values).toHaveLength(rows * columns);
    expect(scales).toHaveLength(rows * groups);
    matrix.forEach((value, i) => {
      const scale = scales[Math.floor(i / columns) * groups + Math.floor((i % columns) / width)]!;
      const most = Math.abs(values[i]!) === 127 ? 127 / 121 - 1 : 0;
      // Half a step, or what a scale for 121 steps cuts off the largest.
      expect(Math.abs(value - values[i]! * scale)).toBeLessThanOrEqual(scale * (0.5001 + most * 127));
      expect(Math.abs(values[i]!)).toBeLessThanOrEqual(127);
    });
  });

  test('leaves its argument alone', () => {
    const matrix = randomFloats(64, 1);
    const copy = matrix.slice();
    kernels.quantizeInt8(matrix, { rows: 1, columns: 64 });
    expect(sameBits(matrix, copy)).toBe(true);
  });
});

describe('kernels.gemmInt8', () => {
  test.each([
    [1, 33, 64, 0],
    [7, 5, 100, 32],
    [130, 40, 333, 16],
    [1, 1, 1, 0],
  ])(
    '%d tokens times [%d, %d] in groups of %d is the product of what was rounded',
    (tokens, rows, columns, group) => {
      const weights = kernels.quantizeInt8(randomFloats(rows * columns, 2), { rows, columns, group });
      const activations = randomFloats(tokens * columns, 3, 4);
      const output = kernels.gemmInt8({ activations, weights, tokens, rows, columns });
      const width = group === 0 ? columns : group;
      const groups = Math.ceil(columns / width);
      const expected = new Float64Array(tokens * rows);
      for (let token = 0; token < tokens; token++) {
        for (let begin = 0, index = 0; begin < columns; begin += width, index++) {
          const x = activations.subarray(
            token * columns + begin,
            token * columns + Math.min(begin + width, columns),
          );
          const largest = x.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          const inverse = Math.fround(127 / largest);
          // Ties do not occur in random numbers; the scale is applied in float32, as the kernel does.
          const codes = [...x].map((value) => Math.round(Math.fround(value * inverse)));
          for (let row = 0; row < rows; row++) {
            const sum = codes.reduce(
              (all, code, i) => all + code * weights.values[row * columns + begin + i]!,
              0,
            );
            expected[token * rows + row]! += (sum * weights.scales[row * groups + index]! * largest) / 127;
          }
        }
      }
      expect(output).toHaveLength(tokens * rows);
      expect(largestDifference(output, expected)).toBeLessThan(1e-5 * columns);
    },
  );

  test('takes codes of another realm', () => {
    const { scales } = kernels.quantizeInt8(new Float32Array(2).fill(127), { rows: 1, columns: 2 });
    const values = runInNewContext('new Int8Array([1, 2])') as Int8Array;
    const activations = new Float32Array([127, -127]);
    const output = kernels.gemmInt8({
      activations,
      weights: { values, scales },
      tokens: 1,
      rows: 1,
      columns: 2,
    });
    expect([...output]).toEqual([-127]);
  });

  test('gives each token the bits that it has alone', () => {
    const [tokens, rows, columns] = [29, 48, 256];
    const weights = kernels.quantizeInt8(randomFloats(rows * columns, 4), { rows, columns, group: 64 });
    const activations = randomFloats(tokens * columns, 5);
    const output = kernels.gemmInt8({ activations, weights, tokens, rows, columns });
    for (let token = 0; token < tokens; token++) {
      const alone = activations.subarray(token * columns, (token + 1) * columns);
      const found = kernels.gemmInt8({ activations: alone, weights, tokens: 1, rows, columns });
      expect(sameBits(found, output.subarray(token * rows, (token + 1) * rows))).toBe(true);
    }
  });

  test('takes all extremes', () => {
    const columns = 4096;
    for (const code of [127, -127]) {
      const values = new Int8Array(32 * columns).fill(code);
      const weights = { values, scales: new Float32Array(32).fill(1) };
      const activations = new Float32Array(columns).fill(127);
      const output = kernels.gemmInt8({ activations, weights, tokens: 1, rows: 32, columns });
      expect([...output]).toEqual(Array.from({ length: 32 }, () => Math.fround(127 * code * columns)));
    }
  });

  test('takes -128, which another thread can write where the codes have been checked, for -127', () => {
    const [rows, columns] = [3, 64];
    const product = (code: number): Float32Array => {
      const output = new Float32Array(rows);
      native.kernels.gemmInt8({
        ...{ activations: randomFloats(columns, 8), values: new Int8Array(rows * columns).fill(code) },
        ...{ scales: new Float32Array(rows).fill(1), tokens: 1, rows, columns, group: columns },
        ...{ threads: 1, output, cuda: undefined },
      });
      return output;
    };
    expect(sameBits(product(-128), product(-127))).toBe(true);
  });

  test('numbers that are none of theirs are refused by the addon, too, which nobody should call', () => {
    const matrix = new Float32Array(128);
    const whole = { matrix, rows: 2, columns: 64, group: 64 };
    const quantize = (change: object): unknown =>
      native.kernels.quantizeInt8({
        ...{ ...whole, ...change },
        ...{ values: new Int8Array(128), scales: new Float32Array(2) },
      });
    quantize({});
    for (const change of [{ rows: 1.5 }, { rows: 0 }, { columns: NaN }, { group: 65 }, { group: 2 ** 20 }]) {
      const [name] = Object.keys(change);
      const message = new RegExp(`${name} must be (?:an integer from \\d+ to \\d+$|a multiple of \\d+$)`);
      expectFailure(
        thrown(() => quantize(change)),
        { message },
      );
    }
  });

  test('passes NaN and infinity on as NaN', () => {
    const weights = kernels.quantizeInt8(randomFloats(64, 6), { rows: 2, columns: 32 });
    for (const odd of [NaN, Infinity]) {
      const activations = randomFloats(32, 7);
      activations[5] = odd;
      const output = kernels.gemmInt8({ activations, weights, tokens: 1, rows: 2, columns: 32 });
      expect([...output]).toEqual([NaN, NaN]);
    }
  });
});

describe('kernels.wkv5', () => {
  const [batch, tokens, heads, headSize] = [2, 9, 3, 20];
  const channels = heads * headSize;
  const count = batch * tokens * channels;
  const r = randomFloats(count, 1);
  const k = randomFloats(count, 2);
  const v = randomFloats(count, 3);
  const w = randomFloats(channels, 4).map((value) => Math.exp(-Math.exp(3 * value - 3)));
  const u = randomFloats(channels, 5);
  const state = randomFloats(batch * channels * headSize, 6);

  test('is the recurrence of the paper', () => {
    const found = kernels.wkv5({ r, k, v, w, u, state, batch, tokens, heads, headSize });
    const S = Float64Array.from(state);
    const y = new Float64Array(count);
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < tokens; t++) {
        for (let h = 0; h < heads; h++) {
          const at = ((b * tokens + t) * heads + h) * headSize;
          for (let i = 0; i < headSize; i++) {
            for (let j = 0; j < headSize; j++) {
              const cell = ((b * heads + h) * headSize + i) * headSize + j;
              const kv = k[at + i]! * v[at + j]!;
              y[at + j]! += r[at + i]! * (S[cell]! + u[h * headSize + i]! * kv);
              S[cell] = w[h * headSize + i]! * S[cell]! + kv;
            }
          }
        }
      }
    }
    expect(largestDifference(found.y, y)).toBeLessThan(1e-4);
    expect(largestDifference(found.state, S)).toBeLessThan(1e-4);
  });

  test('continues from the state that it gave, begins with zeros, and changes no argument', () => {
    const shape = { batch: 1, heads, headSize } as const;
    const part = (array: Float32Array, from: number, to: number): Float32Array =>
      array.subarray(from * channels, to * channels);
    const run = (from: number, to: number, before?: Float32Array): ReturnType<typeof kernels.wkv5> =>
      kernels.wkv5({
        ...{ r: part(r, from, to), k: part(k, from, to), v: part(v, from, to), w, u },
        ...{ ...shape, tokens: to - from, ...(before === undefined ? {} : { state: before }) },
      });
    const whole = run(0, tokens);
    const first = run(0, 4);
    const kept = first.state.slice();
    const second = run(4, tokens, first.state);
    expect(sameBits(second.state, whole.state)).toBe(true);
    expect(sameBits(second.y, whole.y.subarray(4 * channels))).toBe(true);
    expect(sameBits(first.state, kept)).toBe(true);
  });
});

describe('kernels.features', () => {
  const best = process.env['WKV_TEST_ISA'];
  unless(best === undefined && 'only under qemu is it known what the processor has')(
    'has the best of the processor first',
    () => {
      expect(kernels.features().isa[0]).toBe(best);
    },
  );

  test('says what there is', () => {
    const { isa, selected, cuda } = kernels.features();
    expect(isa).toContain(selected);
    expect(isa.at(-1)).toBe('portable');
    const none = { available: false, reason: expect.stringMatching(/CUDA|NVIDIA/) as string };
    expect(cuda).toEqual(
      cuda.available ? { available: true, devices: expect.any(Array) as unknown[] } : none,
    );
  });
});

describe('Arguments of kernels that do not fit', () => {
  const matrix = new Float32Array(64);
  const weights = kernels.quantizeInt8(matrix, { rows: 2, columns: 32 });
  const gemm = { activations: new Float32Array(32), weights, tokens: 1, rows: 2, columns: 32 };
  const f = new Float32Array(4);
  const wkv = { r: f, k: f, v: f, w: f, u: f, batch: 1, tokens: 1, heads: 1, headSize: 4 };
  test.each<[string, () => unknown, string, RegExp]>([
    ['no options', () => kernels.quantizeInt8(matrix, {} as never), 'ERR_INVALID_ARG_TYPE', /rows/],
    [
      'an array',
      () => kernels.quantizeInt8([1] as never, { rows: 1, columns: 1 }),
      'ERR_INVALID_ARG_TYPE',
      /matrix/,
    ],
    [
      'a length',
      () => kernels.quantizeInt8(matrix, { rows: 3, columns: 32 }),
      'ERR_OUT_OF_RANGE',
      /matrix.length.*96/,
    ],
    [
      'a group',
      () => kernels.quantizeInt8(matrix, { rows: 2, columns: 32, group: 24 }),
      'ERR_OUT_OF_RANGE',
      /group/,
    ],
    [
      'a key',
      () => kernels.quantizeInt8(matrix, { rows: 2, columns: 32, x: 1 } as never),
      'ERR_INVALID_ARG_VALUE',
      /x/,
    ],
    [
      'NaN',
      () => kernels.quantizeInt8(new Float32Array([1, NaN]), { rows: 1, columns: 2 }),
      'ERR_OUT_OF_RANGE',
      /\[1\]/,
    ],
    ['rows', () => kernels.gemmInt8({ ...gemm, rows: 3 }), 'ERR_OUT_OF_RANGE', /values.length.*96/],
    ['tokens', () => kernels.gemmInt8({ ...gemm, tokens: 2 }), 'ERR_OUT_OF_RANGE', /activations.length/],
    [
      'scales',
      () => kernels.gemmInt8({ ...gemm, weights: { ...weights, scales: f } }),
      'ERR_OUT_OF_RANGE',
      /scales/,
    ],
    [
      'values',
      () => kernels.gemmInt8({ ...gemm, weights: { ...weights, values: f } } as never),
      'ERR_INVALID_ARG_TYPE',
      /values/,
    ],
    [
      'a code of -128',
      () => kernels.gemmInt8({ ...gemm, weights: { ...weights, values: weights.values.with(5, -128) } }),
      'ERR_OUT_OF_RANGE',
      /weights\.values\[5\]: expected a code from -127 to 127, found -128/,
    ],
    [
      'a code of -128 that comes while the scales are read',
      () => {
        const values = weights.values.slice();
        const lazy = {
          values,
          get scales() {
            values[5] = -128;
            return weights.scales;
          },
        };
        kernels.gemmInt8({ ...gemm, weights: lazy });
      },
      'ERR_OUT_OF_RANGE',
      /weights\.values\[5\]: expected a code from -127 to 127, found -128/,
    ],
    [
      'values that are gone when the scales have been read',
      () => {
        const values = weights.values.slice();
        const lazy = {
          values,
          get scales() {
            structuredClone(values, { transfer: [values.buffer] });
            return weights.scales;
          },
        };
        kernels.gemmInt8({ ...gemm, weights: lazy });
      },
      'ERR_OUT_OF_RANGE',
      /weights\.values\.length: expected 64, found 0/,
    ],
    ['a state', () => kernels.wkv5({ ...wkv, state: f }), 'ERR_OUT_OF_RANGE', /state.length.*16/],
    [
      'a group that is too large',
      () => kernels.quantizeInt8(matrix, { rows: 2, columns: 32, group: 65_552 }),
      'ERR_OUT_OF_RANGE',
      /options\.group: expected .* 65536, found 65552/,
    ],
    [
      'rows that are too long for one group',
      () => kernels.quantizeInt8(new Float32Array(65_537), { rows: 1, columns: 65_537 }),
      'ERR_OUT_OF_RANGE',
      /options\.group: expected groups of at most 65,536 columns, found 0/,
    ],
    [
      'a group of weights',
      () => kernels.gemmInt8({ ...gemm, weights: { ...weights, group: 24 } }),
      'ERR_OUT_OF_RANGE',
      /weights\.group: expected a multiple of 16, or 0, found 24/,
    ],
    [
      'an output that is too large',
      () => {
        const [tokens, rows] = [2 ** 20, 2 ** 20];
        const [values, scales] = [new Int8Array(rows), new Float32Array(rows)];
        kernels.gemmInt8({
          ...{ activations: new Float32Array(tokens), weights: { values, scales } },
          ...{ tokens, rows, columns: 1 },
        });
      },
      'ERR_OUT_OF_RANGE',
      /tokens \* rows: expected at most 2147483647 numbers, found 1099511627776/,
    ],
    [
      'a state that is too large, where none is given',
      () => {
        const [heads, headSize] = [2048, 4096];
        const array = new Float32Array(heads * headSize);
        const arrays = { r: array, k: array, v: array, w: array, u: array };
        kernels.wkv5({ ...arrays, batch: 1, tokens: 1, heads, headSize });
      },
      'ERR_OUT_OF_RANGE',
      /the state: expected at most 2147483647 numbers/,
    ],
    [
      'more rows than any matrix has',
      () => kernels.quantizeInt8(matrix, { rows: 2 ** 24 + 1, columns: 1 }),
      'ERR_OUT_OF_RANGE',
      /options\.rows: expected .* 16777216, found 16777217/,
    ],
    ['heads that are too wide', () => kernels.wkv5({ ...wkv, headSize: 4097 }), 'ERR_OUT_OF_RANGE', /4096/],
    ['heads', () => kernels.wkv5({ ...wkv, heads: 2 }), 'ERR_OUT_OF_RANGE', /r.length.*8/],
    [
      'a huge shape',
      () => kernels.wkv5({ ...wkv, heads: 2 ** 24, tokens: 2 ** 24 }),
      'ERR_OUT_OF_RANGE',
      /at most/,
    ],
    ['nothing', () => kernels.wkv5(undefined as never), 'ERR_INVALID_ARG_TYPE', /arguments.r/],
  ])('%s: an error names it', (_what, call, code, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code }) as Error);
  });
});

describe('Arrays of kernels whose property length is not their own length', () => {
  class Claiming extends Float32Array {}
  Object.defineProperty(Claiming.prototype, 'length', { value: 32 });
  const claiming = <Numbers extends Float32Array | Int8Array>(array: Numbers): Numbers =>
    Object.defineProperty(array, 'length', { value: 32 });
  const short = { rows: 1, columns: 32 };
  const weights = kernels.quantizeInt8(randomFloats(32, 1), short);
  const gemm = { activations: randomFloats(32, 2), weights, tokens: 1, ...short };

  test.each<[string, () => unknown, RegExp]>([
    [
      'an own property',
      () => kernels.quantizeInt8(claiming(new Float32Array(31)), short),
      /matrix\.length.*32, found 31/,
    ],
    ['a class', () => kernels.quantizeInt8(new Claiming(31), short), /matrix\.length.*32, found 31/],
    [
      'codes',
      () => kernels.gemmInt8({ ...gemm, weights: { ...weights, values: claiming(new Int8Array(31)) } }),
      /weights\.values\.length.*32, found 31/,
    ],
  ])('are refused where they are too short (%s)', (_what, call, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }) as Error);
  });

  test('are taken where they are long enough', () => {
    const matrix = randomFloats(64, 3);
    const expected = kernels.quantizeInt8(matrix, { rows: 1, columns: 64 });
    expect(kernels.quantizeInt8(new Claiming(matrix), { rows: 1, columns: 64 })).toEqual(expected);
  });
});
