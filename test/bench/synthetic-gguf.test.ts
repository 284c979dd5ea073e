import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeRwkv6, writeTransformer } from '../../scripts/bench/synthetic-gguf';
import { temporaryFolder } from '../support/model';

const folder = temporaryFolder();
const embedding = 64;
const feedForward = 224;
const vocabulary = 65_536;

interface Tensor {
  dimensions: number[];
  type: number;
  offset: number;
}

/** Reads a file of GGUF's version 3: its metadata, its tensors, and where the data begin. */
function readGguf(bytes: Buffer) {
  let position = 0;
  const uint32 = (): number => bytes.readUInt32LE((position += 4) - 4);
  const uint64 = (): number => Number(bytes.readBigUInt64LE((position += 8) - 8));
  const string = (): string => {
    const length = uint64();
    return bytes.toString('utf8', position, (position += length));
  };
  const value = (type: number): unknown => {
    if (type === 4) return uint32();
    if (type === 6) return bytes.readFloatLE((position += 4) - 4);
    if (type === 8) return string();
    if (type !== 9) throw new Error(`a value of type ${type}`);
    const element = uint32();
    return Array.from({ length: uint64() }, () => value(element));
  };
  expect(bytes.toString('latin1', 0, (position += 4))).toBe('GGUF');
  expect(uint32()).toBe(3);
  const [tensorCount, valueCount] = [uint64(), uint64()];
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < valueCount; i++) {
    const key = string();
    metadata.set(key, value(uint32()));
  }
  const tensors = new Map<string, Tensor>();
  for (let i = 0; i < tensorCount; i++) {
    const name = string();
    const dimensions = Array.from({ length: uint32() }, uint64);
    tensors.set(name, { dimensions, type: uint32(), offset: uint64() });
  }
  return { metadata, tensors, data: Math.ceil(position / 32) * 32 };
}

const bytesOf = ({ dimensions, type }: Tensor): number => {
  const numbers = dimensions.reduce((a, b) => a * b);
  return type === 0 ? 4 * numbers : (numbers / 32) * 34;
};

describe('a synthetic GGUF of RWKV-6', () => {
  const path = join(folder, 'model.gguf');
  let bytes: Buffer;
  let file: ReturnType<typeof readGguf>;

  beforeAll(() => {
    writeRwkv6({ layers: 2, embedding }, path);
    bytes = readFileSync(path);
    file = readGguf(bytes);
  });

  test('says what llama.cpp has to know of an RWKV-6', () => {
    const { metadata } = file;
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect(tokens).toHaveLength(vocabulary);
    expect(new Set(tokens).size).toBe(vocabulary);
    expect(Object.fromEntries(metadata)).toMatchObject({
      'general.architecture': 'rwkv6',
      'general.alignment': 32,
      'rwkv6.block_count': 2,
      'rwkv6.embedding_length': embedding,
      'rwkv6.feed_forward_length': feedForward,
      'rwkv6.wkv.head_size': 64,
      'tokenizer.ggml.model': 'rwkv',
    });
  });

  test('has the tensors of an RWKV-6, matrices in Q8_0', () => {
    const { tensors } = file;
    const q8 = 8;
    const expected: Record<string, Pick<Tensor, 'dimensions' | 'type'>> = {
      'token_embd.weight': { dimensions: [embedding, vocabulary], type: q8 },
      'output.weight': { dimensions: [embedding, vocabulary], type: q8 },
      'blk.1.time_mix_gate.weight': { dimensions: [embedding, embedding], type: q8 },
      'blk.1.channel_mix_key.weight': { dimensions: [embedding, feedForward], type: q8 },
      'blk.1.channel_mix_value.weight': { dimensions: [feedForward, embedding], type: q8 },
      'blk.0.time_mix_w1.weight': { dimensions: [embedding, 160], type: 0 },
      'blk.0.time_mix_w2.weight': { dimensions: [32, embedding, 5], type: 0 },
      'blk.0.time_mix_lerp_fused.weight': { dimensions: [embedding, 1, 1, 5], type: 0 },
      'blk.0.attn_norm_2.bias': { dimensions: [embedding], type: 0 },
    };
    for (const [name, tensor] of Object.entries(expected)) expect(tensors.get(name)).toMatchObject(tensor);
    // Of each layer 24; embedding and head, each with the weight and the bias of a norm.
    expect(tensors.size).toBe(2 * 24 + 6);
  });

  test('has the data one after another, aligned, to the end', () => {
    let end = 0;
    for (const tensor of file.tensors.values()) {
      expect(tensor.offset).toBe(Math.ceil(end / 32) * 32);
      end = tensor.offset + bytesOf(tensor);
    }
    expect(bytes.length).toBe(file.data + Math.ceil(end / 32) * 32);
  });

  test('has numbers that keep a model finite, and no two blocks alike', () => {
    const seen = new Set<string>();
    const scales = new Set<number>();
    let largest = 0;
    for (const tensor of file.tensors.values()) {
      const start = file.data + tensor.offset;
      if (tensor.type === 0) {
        for (let at = start; at < start + bytesOf(tensor); at += 4) {
          largest = Math.max(largest, Math.abs(bytes.readFloatLE(at)));
        }
      } else if (tensor.dimensions.every((size) => size < vocabulary)) {
        for (let at = start; at < start + bytesOf(tensor); at += 34) {
          scales.add(bytes.readUInt16LE(at) >> 10);
          seen.add(bytes.toString('latin1', at, at + 34));
        }
      }
    }
    expect(largest).toBeLessThanOrEqual(6);
    // Sign and exponent in f16 of 2^-13.
    expect([...scales]).toEqual([2]);
    expect(seen.size).toBe((2 * (6 * embedding ** 2 + 2 * embedding * feedForward)) / 32);
  });
});

test('a synthetic GGUF of a Transformer has what llama.cpp loads, heads that share keys, and all of its data', () => {
  const path = join(folder, 'transformer.gguf');
  writeTransformer({ layers: 2, embedding: 128, keyHeads: 1, feedForward: 512 }, path);
  const bytes = readFileSync(path);
  const { metadata, tensors, data } = readGguf(bytes);
  expect(Object.fromEntries(metadata)).toMatchObject({
    'general.architecture': 'llama',
    'llama.block_count': 2,
    'llama.attention.head_count': 2,
    'llama.attention.head_count_kv': 1,
    'llama.rope.dimension_count': 64,
  });
  expect(tensors.get('blk.1.attn_q.weight')?.dimensions).toEqual([128, 128]);
  expect(tensors.get('blk.1.attn_k.weight')?.dimensions).toEqual([128, 64]);
  expect(tensors.get('blk.1.ffn_down.weight')?.dimensions).toEqual([512, 128]);
  // Of each layer nine; embedding, which is the output's matrix as well, and the last norm.
  expect(tensors.size).toBe(2 * 9 + 2);
  const last = tensors.get('output_norm.weight');
  expect(bytes).toHaveLength(data + (last?.offset ?? 0) + 4 * 128);
});
