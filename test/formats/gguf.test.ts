import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeRwkv6 } from '../../scripts/bench/synthetic-gguf';
import { openTensorDirectory } from '../../lib/formats';
import { blockTypes, decodeBlocks, encodeBlocks } from '../support/ggml-blocks';
import {
  ggufMetadata,
  type GgufModelOptions,
  ggufShape,
  ggufTensors,
  type Published,
  rwkv6,
  rwkv7,
  turned,
} from '../support/gguf-models';
import { ggufBytes, type GgufOptions, type GgufWritable } from '../support/gguf-writer';
import { leavingNothing, summaryOf, summaryOfFile, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

function write(name: string, tensors: readonly GgufWritable[], options: GgufOptions): string {
  const path = scratch(name);
  writeFileSync(path, ggufBytes(tensors, options));
  return path;
}

function writeOne(
  architecture: 'rwkv6' | 'rwkv7',
  tensors: readonly Published[],
  options: GgufModelOptions & GgufOptions = {},
): string {
  const metadata = { ...ggufMetadata(architecture, ggufShape, options.rescaleEvery), ...options.metadata };
  return write(`${architecture}.gguf`, ggufTensors(architecture, tensors, options), { ...options, metadata });
}

const expected = (tensors: readonly Published[]) =>
  summaryOf(tensors.map(({ name, shape, data }) => ({ name, shape, numbers: data })));

describe('a GGUF file of RWKV-6', () => {
  const tensors = rwkv6();

  test.each<[string, GgufModelOptions & GgufOptions]>([
    ['as converters write it', {}],
    ['in version 2', { version: 2 }],
    ['with another alignment', { alignment: 64, metadata: { 'general.alignment': ['uint32', 64] } }],
    ['without padding at its end', { padEnd: false }],
    ['in f16', { matrices: 'f16', small: 'f16' }],
    ['in bf16', { matrices: 'bf16', small: 'bf16' }],
    ['with the vectors of the token shift apart', { fused: false }],
    ['with weights that were halved in every layer', { rescaleEvery: 1 }],
    ['in f16 with weights that were halved in every layer', { rescaleEvery: 1, matrices: 'f16' }],
  ])('has the names, shapes and numbers that BlinkDL gives them: %s', async (_, options) => {
    expect(await summaryOfFile(writeOne('rwkv6', tensors, options))).toEqual(expected(tensors));
  });

  test('says by what the numbers have to be multiplied', async () => {
    const shape = { ...ggufShape, layers: 5 };
    const metadata = ggufMetadata('rwkv6', shape, 2);
    const path = write('scaled.gguf', ggufTensors('rwkv6', rwkv6(shape), { rescaleEvery: 2 }), { metadata });
    const directory = await openTensorDirectory(path);
    const scales = new Map(
      directory.tensors.flatMap((tensor) =>
        tensor.type !== 'packed' && tensor.scale !== undefined ? [[tensor.name, tensor.scale]] : [],
      ),
    );
    const names = ['att.output.weight', 'ffn.value.weight'];
    expect(scales).toEqual(
      new Map(
        [2, 3, 4].flatMap((layer) => names.map((name) => [`blocks.${layer}.${name}`, layer < 4 ? 2 : 4])),
      ),
    );
  });

  test('has the LoRA matrices transposed by their strides', async () => {
    const { tensors: found } = await openTensorDirectory(writeOne('rwkv6', tensors));
    const strides = Object.fromEntries(
      found.map((tensor) => [tensor.name, tensor.type === 'packed' ? [] : tensor.strides]),
    );
    expect(strides).toMatchObject({
      'blocks.1.att.time_maa_w1': [1, 32],
      'blocks.1.att.time_maa_w2': [32 * 4, 1, 4],
      'blocks.1.att.time_decay_w1': [1, 32],
      'blocks.1.att.time_decay_w2': [1, 4],
      'blocks.1.att.key.weight': [32, 1],
    });
  });
});

describe('a GGUF file of RWKV-7', () => {
  const tensors = rwkv7();

  test.each<[string, GgufModelOptions]>([
    ['as converters write it', {}],
    ['in f16', { matrices: 'f16', small: 'f16' }],
  ])('has the names, shapes and numbers that BlinkDL gives them: %s', async (_, options) => {
    expect(await summaryOfFile(writeOne('rwkv7', tensors, options))).toEqual(expected(tensors));
  });

  test('leaves out what the first layer does not use', async () => {
    const written = ggufTensors('rwkv7', tensors).map(({ name }) => name);
    expect(written).toContain('blk.0.time_mix_v0.weight');
    const { tensors: found } = await openTensorDirectory(writeOne('rwkv7', tensors));
    const names = found.map(({ name }) => name);
    expect(names).toContain('blocks.1.att.v0');
    expect(names.filter((name) => name.startsWith('blocks.0.att.v'))).toEqual(['blocks.0.att.value.weight']);
  });
});

test.each(blockTypes)('matrices of %s are read, in rows and transposed', async (type) => {
  const written = (
    [
      ['token_embd.weight', 3, 512],
      ['blk.0.time_mix_key.weight', 4, 256],
      ['blk.0.time_mix_w1.weight', 5, 256],
      ['blk.0.time_mix_w2.weight', 5, 3, 256],
    ] as const
  ).map(([name, ...shape]): GgufWritable => {
    const data = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 1.3 + 1));
    return { name, type, shape, data };
  });
  const stored = ({ name, shape, data }: GgufWritable): Published => ({
    ...{ name, shape },
    data: [...decodeBlocks(type, encodeBlocks(type, data))],
  });
  const path = write('blocks.gguf', written, { metadata: ggufMetadata('rwkv6') });
  const [embedding, key, w1, w2] = written.map(stored) as [Published, Published, Published, Published];
  expect(await summaryOfFile(path)).toEqual(
    expected([
      { ...embedding, name: 'emb.weight' },
      { ...key, name: 'blocks.0.att.key.weight' },
      { name: 'blocks.0.att.time_maa_w1', ...turned(w1) },
      { name: 'blocks.0.att.time_maa_w2', ...turned(w2) },
    ]),
  );
  const { tensors } = await openTensorDirectory(path);
  expect(tensors.map((tensor) => [tensor.name, tensor.type, ...tensor.shape])).toEqual([
    ['emb.weight', type, 3, 512],
    ['blocks.0.att.key.weight', type, 4, 256],
    ['blocks.0.att.time_maa_w1', type, 256, 5],
    ['blocks.0.att.time_maa_w2', type, 5, 256, 3],
  ]);
});

test('a file of the benchmark is read', async () => {
  const path = scratch('synthetic.gguf');
  writeRwkv6({ layers: 2, embedding: 64 }, path);
  const directory = await openTensorDirectory(path);
  expect(directory.format).toBe('gguf');
  const shapes = Object.fromEntries(
    directory.tensors.map(({ name, shape, type }) => [name, [type, ...shape]]),
  );
  expect(shapes).toMatchObject({
    'emb.weight': ['q8_0', 65_536, 64],
    'head.weight': ['q8_0', 65_536, 64],
    'blocks.1.att.time_faaaa': ['f32', 1, 64],
    'blocks.1.att.time_maa_g': ['f32', 1, 1, 64],
    'blocks.1.ffn.key.weight': ['q8_0', 224, 64],
  });
  // The stacked five of each layer become five.
  expect(directory.tensors).toHaveLength(2 * 28 + 6);
  expect(directory.vocabulary?.size).toBe(65_536);
});

test('metadata is told as text, whatever its type; arrays are not', async () => {
  const path = writeOne('rwkv7', rwkv7(), {
    metadata: {
      'test.uint8': ['uint8', 200],
      'test.int8': ['int8', -100],
      'test.uint16': ['uint16', 60_000],
      'test.int16': ['int16', -30_000],
      'test.int32': ['int32', -2_000_000_000],
      'test.float32': ['float32', 0.5],
      'test.bool': ['bool', true],
      'test.uint64': ['uint64', 2n ** 63n],
      'test.int64': ['int64', -5n],
      'test.float64': ['float64', 0.1],
      'test.text': ['string', 'a "text" and ünïcode'],
      'test.numbers': ['array', 'int16', [1, 2, 3]],
      'test.texts': ['array', 'string', ['a', 'b']],
      'test.empty': ['array', 'float64', []],
      'tokenizer.chat_template': ['string', '{% for m in messages %}'],
      ['__proto__']: ['string', 'nobody'],
    },
  });
  const { metadata } = await openTensorDirectory(path);
  expect({ ...metadata }).toMatchObject({
    'general.architecture': 'rwkv7',
    'rwkv7.wkv.head_size': '8',
    'test.uint8': '200',
    'test.int8': '-100',
    'test.uint16': '60000',
    'test.int16': '-30000',
    'test.int32': '-2000000000',
    'test.float32': '0.5',
    'test.bool': 'true',
    'test.uint64': '9223372036854775808',
    'test.int64': '-5',
    'test.float64': '0.1',
    'test.text': 'a "text" and ünïcode',
    'tokenizer.chat_template': '{% for m in messages %}',
  });
  expect(Object.keys(metadata).filter((key) => /numbers|texts|empty/.test(key))).toEqual([]);
});

test('a header longer than what is read at first is read whole', async () => {
  const words = Array.from({ length: 30_000 }, (_, i) => `word ${i}`);
  const path = writeOne('rwkv6', rwkv6(), {
    metadata: { 'test.words': ['array', 'string', words], 'test.last': ['string', 'x'.repeat(100_000)] },
  });
  const { metadata } = await leavingNothing(() => openTensorDirectory(path));
  expect(metadata['test.last']).toHaveLength(100_000);
  expect(await summaryOfFile(path)).toEqual(expected(rwkv6()));
});

test('a directory that holds a GGUF alone says how to load it', async () => {
  writeOne('rwkv7', rwkv7());
  await expect(openTensorDirectory(join(scratch('rwkv7.gguf'), '..'))).rejects.toThrow(
    /pass its path.*rwkv7\.gguf/,
  );
});
