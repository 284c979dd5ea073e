import { open } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel } from '../../lib/convert';
import { describeFile } from '../../lib/formats/source';
import type { StoredTensor, TensorDirectory } from '../../lib/formats/tensor-directory';
import { loadModel } from '../../lib/index';
import { runJob } from '../../lib/job';
import { native } from '../../lib/native';
import { wkv, json } from '../cli/support';
import { sameBits } from '../support/compare';
import { expectFailure, rejection, thrown } from '../support/failure';
import { roundTo } from '../support/float16';
import { blockTypes, decodeBlocks, encodeBlocks } from '../support/ggml-blocks';
import { encodeNumbers, type GgmlType } from '../support/gguf-writer';
import { randomModel, type RandomModelShape, type RandomTensor, randomTokens } from '../support/random-model';
import { rwkvCppBytes, rwkvCppTensors5, type RwkvCppWritable } from '../support/rwkvcpp-writer';
import { writeSafetensors } from '../support/safetensors-writer';
import { allLogits, temporaryFolder, withModel } from '../support/model';

const folder = temporaryFolder();
const shape: RandomModelShape = {
  ...{ layers: 1, embedding: 64, headSize: 32, feedForward: 96, vocabulary: 70, type: 'f32', seed: 7 },
};
const header = { vocabulary: 70, embedding: 64, layers: 1 };
const tokens = randomTokens(20, 70, 5);

/** The numbers that a type leaves of these. */
function rounded(type: GgmlType, data: ArrayLike<number>): Float64Array {
  const block = blockTypes.find((each) => each === type);
  if (block !== undefined) return decodeBlocks(block, encodeBlocks(block, data));
  return Float64Array.from(data, (value) => roundTo(type as 'f32' | 'f16', value));
}

/** A model as rwkv.cpp's quantizer leaves it, and what its numbers are. */
function pair(type: GgmlType, keepTables: boolean): { bin: RwkvCppWritable[]; plain: RandomTensor[] } {
  const tensors = randomModel(shape);
  const kept = (name: string): boolean => keepTables && /^(?:emb|head)\./.test(name);
  const isMatrix = ({ name, shape: own }: { name: string; shape: readonly number[] }): boolean =>
    own.length === 2 && !name.includes('.time_') && !kept(name);
  const bin = rwkvCppTensors5(tensors).map((tensor) => (isMatrix(tensor) ? { ...tensor, type } : tensor));
  const plain = bin.map(({ name, type: own, data }, i): RandomTensor => {
    const numbers = rounded(own, data);
    const values = name.endsWith('time_decay')
      ? numbers.map((factor) => Math.log(-Math.log(factor)))
      : numbers;
    return { ...tensors[i]!, type: 'f32', data: Float32Array.from(values) };
  });
  return { bin, plain };
}

async function write(name: string, { bin, plain }: ReturnType<typeof pair>): Promise<[string, string]> {
  const paths: [string, string] = [join(folder, `${name}.bin`), join(folder, `${name}.safetensors`)];
  writeFileSync(paths[0], rwkvCppBytes(header, bin));
  await writeSafetensors(paths[1], plain);
  return paths;
}

const logitsOf = (path: string, weights: 'f32' | 'f16' | 'int8'): Promise<Float32Array> =>
  withModel(path, { weights }, (model) => allLogits(model.createSession(), tokens));

test.each(['f32', 'f16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1'] as const)(
  'An RWKV-5.2 of rwkv.cpp in %s gives the logits of its dequantized numbers, to the last bit',
  async (type) => {
    const [bin, plain] = await write(type, pair(type, false));
    for (const weights of ['f32', 'f16'] as const) {
      expect(sameBits(await logitsOf(bin, weights), await logitsOf(plain, weights))).toBe(true);
    }
    // Packed, it is what int8 makes of it.
    const packed = join(folder, `${type}.int8.safetensors`);
    await convertModel(bin, packed, { weights: 'int8' });
    expect(sameBits(await logitsOf(bin, 'int8'), await logitsOf(packed, 'int8'))).toBe(true);
  },
);

test('So it does with embedding and head as rwkv.cpp leaves them, in int8 too', async () => {
  const [bin, plain] = await write('tables', pair('q5_1', true));
  for (const weights of ['f32', 'int8'] as const) {
    expect(sameBits(await logitsOf(bin, weights), await logitsOf(plain, weights))).toBe(true);
  }
});

test('A file of rwkv.cpp gives other logits than its original only as far as its decay was rounded', async () => {
  const { bin } = pair('f32', true);
  const [path] = await write('rounded', { bin, plain: [] });
  const original = join(folder, 'original.safetensors');
  await writeSafetensors(original, randomModel(shape));
  const [one, other] = [await logitsOf(path, 'f32'), await logitsOf(original, 'f32')];
  const worst = Math.max(...one.map((value, i) => Math.abs(value - other[i]!)));
  expect(worst).toBeLessThan(1e-4);
});

test('Blocks whose scale is no number are refused, with tensor and element', async () => {
  const { bin } = pair('q8_0', true);
  const bytes = rwkvCppBytes(header, bin);
  const name = 'blocks.0.ffn.key.weight';
  const begin = bytes.indexOf(name) + name.length;
  bytes.writeUInt16LE(0x7c00, begin + 34 * 5);
  const path = join(folder, 'infinite.bin');
  writeFileSync(path, bytes);
  const error = await rejection(() => loadModel(path));
  expectFailure(error, { code: 'ERR_WKV_FORMAT', tensor: name, message: /element 160/ });
});

test('wkv inspect says what such a file is', async () => {
  const [path] = await write('inspected', pair('q5_1', true));
  const report = json(await wkv(['inspect', '--json', path]));
  const matrices = 6 * 64 * 64 + 2 * 64 * 96;
  expect(report).toMatchObject({
    format: 'rwkv.cpp',
    version: '5.2',
    heads: 2,
    headSize: 32,
    storedAs: 'q5_1',
    stored: { q5_1: (matrices / 32) * 24 },
    chatTemplate: null,
  });
  const { stdout } = await wkv(['inspect', path]);
  expect(String(stdout)).toMatch(/^stored .*KiB q5_1/m);
});

describe('The engine', () => {
  const wide: RandomModelShape = { ...shape, embedding: 256, heads: 1, headSize: 8, feedForward: 8 };
  const tensors = randomModel(wide);
  const hasBlocks = ({ name, shape: own }: RandomTensor): boolean =>
    own[1] === 256 && !name.includes('.time_');

  /** A model described by hand: no format has RWKV-5 with all of this. */
  async function directoryOf(
    typeOf: (tensor: RandomTensor) => GgmlType,
    change: (tensor: StoredTensor) => StoredTensor = (tensor) => tensor,
    written: readonly RandomTensor[] = tensors,
  ): Promise<TensorDirectory> {
    const contents = written.map((tensor) => encodeNumbers(typeOf(tensor), tensor.data));
    const path = join(folder, 'model.raw');
    writeFileSync(path, Buffer.concat(contents));
    let offset = 0;
    const entries = written.map((tensor, i): StoredTensor => {
      const { name, shape: own } = tensor;
      const strides = own.map((_, axis) => own.slice(axis + 1).reduce((a, b) => a * b, 1));
      const entry = change({ name, shape: own, strides, file: 0, offset, type: typeOf(tensor) });
      offset += contents[i]!.length;
      return entry;
    });
    const handle = await open(path);
    try {
      const files = [await describeFile(handle, path)];
      return { format: 'gguf', files, tensors: entries, metadata: {}, close: () => Promise.resolve() };
    } finally {
      await handle.close();
    }
  }

  async function logitsOfDirectory(directory: TensorDirectory): Promise<Float32Array> {
    const options = {
      weights: 'f32' as const,
      threads: 2,
      maxBatch: 1,
      packStates: false,
      onlyShared: false,
    };
    const model = await runJob((report) => native.loadModel(directory, options, report), {
      discard: async (unwanted) => {
        await unwanted?.dispose();
      },
    });
    if (model === null) throw new Error('nothing was loaded');
    const session = model.createSession(undefined, 1n);
    const evaluated = session.evaluate({ tokens: Uint32Array.from(tokens), output: 2, abandonable: false });
    native.flush();
    const { values } = await evaluated;
    session.dispose();
    await model.dispose();
    return values!;
  }

  test.each(blockTypes)('reads matrices of %s', async (type) => {
    const plain = join(folder, `${type}.safetensors`);
    await writeSafetensors(
      plain,
      tensors.map((tensor) =>
        hasBlocks(tensor) ? { ...tensor, type: 'f32' as const, data: rounded(type, tensor.data) } : tensor,
      ),
    );
    const directory = await directoryOf((tensor) => (hasBlocks(tensor) ? type : 'f32'));
    expect(sameBits(await logitsOfDirectory(directory), await logitsOf(plain, 'f32'))).toBe(true);
  });

  test('multiplies numbers by their scale', async () => {
    const plain = join(folder, 'unscaled.safetensors');
    await writeSafetensors(plain, tensors);
    const isScaled = (name: string): boolean => name.endsWith('.weight') && name.includes('.att.');
    const divided = tensors.map((tensor) =>
      isScaled(tensor.name) ? { ...tensor, data: tensor.data.map((value) => value / 8) } : tensor,
    );
    const change = (tensor: StoredTensor): StoredTensor =>
      isScaled(tensor.name) ? { ...tensor, scale: 8 } : tensor;
    const directory = await directoryOf(() => 'f32', change, divided);
    expect(sameBits(await logitsOfDirectory(directory), await logitsOf(plain, 'f32'))).toBe(true);
  });

  test.each<[string, string, object]>([
    ['a scale that is no power of two', 'ERR_WKV_FORMAT', { scale: 3 }],
    ['a scale of 0', 'ERR_WKV_FORMAT', { scale: 0 }],
    ['a negative scale', 'ERR_INVALID_ARG_TYPE', { scale: -2 }],
    ['a scale beyond f32', 'ERR_INVALID_ARG_TYPE', { scale: 2 ** 200 }],
    ['a scale that is no number', 'ERR_INVALID_ARG_TYPE', { scale: 'two' }],
    ['a function that there is not', 'ERR_INVALID_ARG_TYPE', { applied: 'sin' }],
    ['a type that there is not', 'ERR_INVALID_ARG_TYPE', { type: 'q2_0' }],
    ['blocks where there is not a whole one', 'ERR_WKV_FORMAT', { type: 'q8_0' }],
  ])('refuses %s', async (_, code, wrong) => {
    const change = (tensor: StoredTensor): StoredTensor =>
      tensor.name === 'blocks.0.att.output.weight' ? Object.assign(tensor, wrong) : tensor;
    const directory = await directoryOf(() => 'f32', change);
    expectFailure(
      thrown(() => native.inspectModel(directory, {})),
      { code },
    );
  });
});
