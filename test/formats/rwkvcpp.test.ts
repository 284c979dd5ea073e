import { writeFileSync } from 'node:fs';
import { openTensorDirectory } from '../../lib/formats';
import { decodeBlocks, encodeBlocks } from '../support/ggml-blocks';
import { ggufShape, type Published, rwkv6, rwkv7, turned } from '../support/gguf-models';
import { randomModel } from '../support/random-model';
import { readTensors } from '../support/read-tensors';
import { rwkvCppBytes, rwkvCppTensors5, type RwkvCppWritable } from '../support/rwkvcpp-writer';
import { summaryOf, summaryOfFile, useScratchDirectory } from './support';

const scratch = useScratchDirectory();
const { vocabulary, embedding, layers } = ggufShape;
const dimensions = { vocabulary, embedding, layers };

function write(tensors: readonly RwkvCppWritable[], header = { ...dimensions }): string {
  const path = scratch('model.bin');
  writeFileSync(path, rwkvCppBytes(header, tensors));
  return path;
}

const expected = (tensors: readonly Published[]) =>
  summaryOf(tensors.map(({ name, shape, data }) => ({ name, shape, numbers: data })));

const f32 = ({ name, shape, data }: Published): RwkvCppWritable => ({ name, type: 'f32', shape, data });
const squeezed = (shape: readonly number[]): number[] => shape.filter((size) => size !== 1);

/** What the converter does to RWKV-6. */
function converted6(tensor: Published): RwkvCppWritable {
  const { name } = tensor;
  const own = f32(tensor);
  if (/time_(?:maa|decay)_w\d$/.test(name)) return { ...own, ...turned(tensor) };
  if (name.endsWith('time_faaaa')) return { ...own, shape: [...tensor.shape, 1] };
  if (name.endsWith('time_decay')) return { ...own, shape: [4, tensor.data.length / 4, 1] };
  return name.includes('.time_') ? { ...own, shape: squeezed(tensor.shape) } : own;
}

/** What the converter does to RWKV-7. */
function converted7(tensor: Published, tensors: readonly Published[]): RwkvCppWritable[] {
  const { name } = tensor;
  const [, block, part] = /^(blocks\.\d\.att\.)x_(.)$/.exec(name) ?? [];
  if (block !== undefined) {
    if (part !== 'r') return [];
    const parts = ['r', 'w', 'k', 'v', 'a', 'g'].map((each) =>
      tensors.find((other) => other.name === `${block}x_${each}`)!,
    );
    return [
      { name: `${block}x_rwkvag`, type: 'f32', shape: [6, 1, 32], data: parts.flatMap(({ data }) => data) },
    ];
  }
  return [/\.att\.[wavg][12]$/.test(name) ? { ...f32(tensor), ...turned(tensor) } : f32(tensor)];
}

describe('a file of rwkv.cpp', () => {
  test.each([100, 101])(
    'of RWKV-6 in version %d has the names, shapes and numbers of BlinkDL',
    async (version) => {
      const path = write(rwkv6().map(converted6), { ...dimensions, version } as typeof dimensions);
      expect(await summaryOfFile(path)).toEqual(expected(rwkv6()));
      expect(await openTensorDirectory(path)).toMatchObject({
        format: 'rwkv.cpp',
        metadata: { version: String(version) },
      });
    },
  );

  test('of RWKV-6 may have the decay in one row, as older converters wrote it', async () => {
    const tensors = rwkv6().map(converted6);
    const older = tensors.map((tensor) =>
      tensor.name.endsWith('time_decay') ? { ...tensor, shape: [32] } : tensor,
    );
    expect(await summaryOfFile(write(older))).toEqual(expected(rwkv6()));
  });

  test('of RWKV-7 has the vectors of the token shift apart', async () => {
    const tensors = rwkv7();
    expect(await summaryOfFile(write(tensors.flatMap((tensor) => converted7(tensor, tensors))))).toEqual(
      expected(tensors),
    );
  });

  test('of RWKV-5.2 has its decay back, as near as it was stored', async () => {
    const tensors = randomModel({
      ...{ layers, embedding, headSize: 8, feedForward: 48, vocabulary, type: 'f32', seed: 3 },
    });
    const found = await readTensors(write(rwkvCppTensors5(tensors)));
    expect(found.size).toBe(tensors.length);
    for (const { name, shape, data } of tensors) {
      const { values, shape: foundShape } = found.get(name)!;
      expect(foundShape).toEqual(shape);
      if (!name.endsWith('time_decay')) {
        expect([...values]).toEqual([...data]);
        continue;
      }
      // What is stored, exp(-exp(decay)), is rounded to f32.
      const factor = (decay: number): number => Math.exp(-Math.exp(decay));
      for (const [i, value] of values.entries()) {
        expect(Math.abs(factor(value) - factor(data[i]!))).toBeLessThan(2 ** -24);
      }
    }
  });

  test.each<[string, number[], number[]]>([
    ['of 5.2', [4, 8, 1], [4, 8]],
    ['of 5.2 with one head', [32, 1], [1, 32]],
    ['of 5.1, which has a gate', [4, 1], [4]],
    ['of 5.0', [4, 1, 1], [4]],
  ])('has the decay and bonus of heads %s', async (_, stored, shape) => {
    const count = shape.reduce((a, b) => a * b);
    const path = write(
      [
        { name: 'emb.weight', type: 'f32', shape: [7, 32], data: new Float64Array(224) },
        { name: 'blocks.0.att.ln_x.weight', type: 'f32', shape: [32], data: new Float64Array(32) },
        {
          name: 'blocks.0.att.time_decay',
          type: 'f32',
          shape: stored,
          data: new Float64Array(count).fill(0.5),
        },
        {
          name: 'blocks.0.att.time_first',
          type: 'f32',
          shape: stored,
          data: new Float64Array(count).fill(2),
        },
        {
          name: 'blocks.0.att.time_faaaa',
          type: 'f32',
          shape: stored,
          data: new Float64Array(count).fill(3),
        },
      ],
      { ...dimensions, layers: 1 },
    );
    const found = await readTensors(path);
    const numbers = (name: string): unknown => {
      const { shape: own, values } = found.get(`blocks.0.att.${name}`)!;
      return [own, [...values]];
    };
    expect(numbers('time_decay')).toEqual([shape, Array<number>(count).fill(Math.log(-Math.log(0.5)))]);
    expect(numbers('time_first')).toEqual([shape, Array<number>(count).fill(Math.log(2))]);
    expect(numbers('time_faaaa')).toEqual([shape, Array<number>(count).fill(3)]);
  });

  test('of RWKV-4 has its decay back, and its bonus as it is', async () => {
    const path = write(
      [
        { name: 'emb.weight', type: 'f32', shape: [7, 32], data: new Float64Array(224) },
        { name: 'blocks.0.att.time_decay', type: 'f32', shape: [32], data: new Float64Array(32).fill(-2) },
        { name: 'blocks.0.att.time_first', type: 'f32', shape: [32], data: new Float64Array(32).fill(-3) },
        { name: 'blocks.0.att.time_mix_k', type: 'f32', shape: [32], data: new Float64Array(32).fill(0.5) },
      ],
      { ...dimensions, layers: 1 },
    );
    const found = await readTensors(path);
    expect(found.get('blocks.0.att.time_decay')).toMatchObject({ shape: [32] });
    expect(found.get('blocks.0.att.time_decay')!.values[31]).toBe(Math.log(2));
    expect(found.get('blocks.0.att.time_first')!.values[31]).toBe(-3);
    expect(found.get('blocks.0.att.time_mix_k')).toMatchObject({ shape: [1, 1, 32] });
  });

  const types = [
    'f16',
    'q8_0',
    'q4_0',
    'q4_1',
    'q5_0',
    'q5_1',
    'q2_k',
    'q3_k',
    'q4_k',
    'q5_k',
    'q6_k',
  ] as const;
  test.each(types)('has matrices in %s, the small ones transposed among them', async (type) => {
    const [embedding, rank] = type.endsWith('_k') ? [256, 256] : [64, 32];
    const shape = { ...ggufShape, embedding, headSize: 16, feedForward: embedding, rank, layers: 1 };
    const written = rwkv6(shape).map((tensor) => {
      const stored = converted6(tensor);
      const isMatrix = stored.shape.length === 2 && !/^(?:emb|head)/.test(tensor.name);
      return isMatrix ? { ...stored, type } : stored;
    });
    const found = await readTensors(write(written, { ...dimensions, embedding, layers: 1 }));
    for (const name of [
      'blocks.0.att.key.weight',
      'blocks.0.att.time_maa_w1',
      'blocks.0.att.time_decay_w2',
    ]) {
      const { data, shape } = written.find((tensor) => tensor.name === name)!;
      const stored = Array.from(
        type === 'f16' ? Float64Array.from(data) : decodeBlocks(type, encodeBlocks(type, data)),
      );
      const isTurned = name.includes('_w');
      const numbers = isTurned ? turned({ name, shape, data: stored }).data : stored;
      expect(found.get(name)).toMatchObject({ type });
      expect([...found.get(name)!.values]).toEqual(numbers);
    }
  });
});
