import { ggufMetadata, ggufTensors, rwkv6 } from '../support/gguf-models';
import {
  ggufBytes,
  type GgufEntry,
  ggufHeader,
  type GgufOptions,
  ggufString,
  ggufTensor,
  ggufValue,
} from '../support/gguf-writer';
import { uint32, uint64 } from '../support/zip-writer';
import { refusalOf, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

async function refuse(bytes: Uint8Array) {
  return await refusalOf(scratch('malformed.gguf'), bytes);
}

const norm = { name: 'output_norm.weight', type: 'f32' as const, shape: [8], data: Array<number>(8).fill(1) };

/** A small file, in order but for what is given. */
function file(options: GgufOptions = {}, tensors = [norm]): Buffer {
  return ggufBytes(tensors, { ...options, metadata: { ...ggufMetadata('rwkv6'), ...options.metadata } });
}

const entry = (key: string | Uint8Array, value: Buffer): Buffer => Buffer.concat([ggufString(key), value]);
const entries = Object.entries(ggufMetadata('rwkv6')).map(([key, value]) => entry(key, ggufValue(value)));

/** A file with these descriptions of tensors, and 64 bytes of data. */
function described(...tensors: readonly Buffer[]): Buffer {
  const header = ggufHeader(3, entries, tensors);
  return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), Buffer.alloc(64)]);
}

/** A file whose metadata ends with these bytes. */
const ending = (...bytes: readonly Buffer[]): Buffer =>
  Buffer.concat([ggufHeader(3, [...entries, ...bytes], [], { tensors: 1 }), Buffer.alloc(200)]);

/** Arrays of one array each. */
const nested = (depth: number): Buffer =>
  Buffer.concat([uint32(9), ...Array.from({ length: depth }, () => Buffer.concat([uint32(9), uint64(1)]))]);

const endless = [2n ** 64n - 1n, 2n ** 63n, 2n ** 53n - 1n, 2n ** 40n, 0xffffffff, 100_000_000, 1000];

describe('a GGUF file with a wrong header is refused:', () => {
  test.each(endless)('%d tensors', async (count) => {
    const bytes = Buffer.concat([ggufHeader(3, entries, [], { tensors: count }), Buffer.alloc(100)]);
    expect((await refuse(bytes)).message).toMatch(
      /number of tensors is impossible|more than 100000 tensors|ends inside/,
    );
  });

  test.each(endless)('%d entries of metadata', async (count) => {
    const bytes = Buffer.concat([ggufHeader(3, entries, [], { entries: count }), Buffer.alloc(100)]);
    expect((await refuse(bytes)).message).toMatch(
      /number of metadata entries is impossible|more than 10000 metadata entries|has "" twice/,
    );
  });

  test.each(endless)('a key of %d bytes', async (count) => {
    expect((await refuse(ending(uint64(count)))).message).toMatch(
      /length of a key of the metadata is impossible|ends inside a key of the metadata/,
    );
  });

  test.each(endless)('a text of %d bytes', async (count) => {
    const text = entry('a', Buffer.concat([uint32(8), uint64(count)]));
    expect((await refuse(ending(text))).message).toMatch(
      /length of the metadata "a" is impossible|ends inside the metadata "a"/,
    );
  });

  test.each(endless)('arrays of %d elements', async (count) => {
    for (const type of [0, 4, 7, 8, 9, 12]) {
      const array = Buffer.concat([uint32(9, type), uint64(count)]);
      expect((await refuse(ending(entry('a', array)))).message).toMatch(
        /number of elements of the metadata "a" is impossible|ends inside the .*metadata "a"/,
      );
    }
  });

  test('more than 32 MB of metadata', async () => {
    const array = Buffer.concat([uint32(9, 0), uint64(32_000_000), Buffer.alloc(32_000_000)]);
    expect((await refuse(ending(entry('a', array)))).message).toContain('the header is too long');
  });

  test.each<[string, Buffer, RegExp]>([
    ['a type of metadata that there is not', entry('a', uint32(13, 0, 0)), /"a" is of the type 13/],
    [
      'a type of elements that there is not',
      entry('a', Buffer.concat([uint32(9, 13), uint64(1)])),
      /"a" is of the type 13/,
    ],
    ['a truth value of 2', entry('a', Buffer.concat([uint32(7), Buffer.of(2)])), /neither true nor false/],
    ['a key that is not UTF-8', entry(Uint8Array.of(0xff), uint32(4, 1)), /a key of the metadata/],
    ['a key twice', entry('rwkv6.block_count', uint32(4, 2)), /has "rwkv6\.block_count" twice/],
    [
      'arrays in four arrays',
      entry('a', Buffer.concat([nested(4), uint32(0), uint64(0)])),
      /nested deeper than 4/,
    ],
  ])('%s', async (_, bytes, message) => {
    expect((await refuse(ending(bytes))).message).toMatch(message);
  });

  test('nesting, before it is followed far', async () => {
    expect((await refuse(ending(entry('a', nested(1000))))).message).toContain('nested deeper than 4');
  });

  test.each([0, 1, 4, 100])('version %d (not supported)', async (version) => {
    expect(await refuse(file({ version }))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      found: `version ${version}`,
    });
  });

  test('big-endian (not supported)', async () => {
    expect(await refuse(file({ version: 0x03000000 }))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      found: 'a big-endian file',
    });
  });
});

describe('a GGUF file with wrong metadata is refused:', () => {
  test.each(['llama', 'rwkv6qwen2', 'arwkv7', 'mamba', 'rwkv5', '', '__proto__'])(
    'the architecture "%s" (not supported)',
    async (architecture) => {
      const error = await refuse(file({ metadata: { 'general.architecture': ['string', architecture] } }));
      expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', found: architecture });
      expect(error.message).toContain(JSON.stringify(architecture));
    },
  );

  test.each<[string, Record<string, GgufEntry>, string]>([
    ['an architecture that is a number', { 'general.architecture': ['uint32', 6] }, 'ERR_WKV_FORMAT'],
    ['an alignment of 0', { 'general.alignment': ['uint32', 0] }, 'ERR_WKV_FORMAT'],
    ['an alignment of 24', { 'general.alignment': ['uint32', 24] }, 'ERR_WKV_FORMAT'],
    ['an alignment of 2^31', { 'general.alignment': ['uint32', 2 ** 31] }, 'ERR_WKV_FORMAT'],
    ['an alignment that is text', { 'general.alignment': ['string', '32'] }, 'ERR_WKV_FORMAT'],
    ['heads of 0', { 'rwkv6.wkv.head_size': ['uint32', 0] }, 'ERR_WKV_FORMAT'],
    ['heads of -1', { 'rwkv6.wkv.head_size': ['int32', -1] }, 'ERR_WKV_FORMAT'],
    ['heads of 16.5', { 'rwkv6.wkv.head_size': ['float32', 16.5] }, 'ERR_WKV_FORMAT'],
    ['heads that are an array', { 'rwkv6.wkv.head_size': ['array', 'int32', [16]] }, 'ERR_WKV_FORMAT'],
    ['halving every -1 layers', { 'rwkv6.rescale_every_n_layers': ['int32', -1] }, 'ERR_WKV_FORMAT'],
    ['one of several files', { 'split.count': ['uint16', 2] }, 'ERR_WKV_UNSUPPORTED'],
    ['another epsilon', { 'rwkv6.attention.layer_norm_epsilon': ['float32', 1e-6] }, 'ERR_WKV_UNSUPPORTED'],
    [
      'an epsilon that is no number',
      { 'rwkv6.attention.layer_norm_epsilon': ['float32', NaN] },
      'ERR_WKV_UNSUPPORTED',
    ],
  ])('%s', async (_, metadata, code) => {
    expect((await refuse(file({ metadata }))).code).toBe(code);
  });

  test('a part that says nothing but that it is one', async () => {
    const metadata: Record<string, GgufEntry> = { 'split.no': ['uint16', 1], 'split.count': ['uint16', 3] };
    const error = await refuse(ggufBytes([], { metadata }));
    expect(error.message).toContain('is one of 3 files of a model');
  });

  test.each(['general.architecture', 'rwkv6.wkv.head_size'])('without %s', async (missing) => {
    const metadata = Object.fromEntries(
      Object.entries(ggufMetadata('rwkv6')).filter(([key]) => key !== missing),
    );
    expect((await refuse(ggufBytes([norm], { metadata }))).code).toBe('ERR_WKV_FORMAT');
  });
});

describe('a GGUF file with wrong tensors is refused:', () => {
  const name = 'output_norm.weight';

  test.each<[string, Buffer[]]>([
    ['none', []],
    ['a name that is not UTF-8', [Buffer.concat([ggufString(Uint8Array.of(0xc3)), uint32(0, 0), uint64(0)])]],
    ['five dimensions', [ggufTensor(name, [1, 1, 1, 1, 16], 0, 0)]],
    ['four billion dimensions', [Buffer.concat([ggufString(name), uint32(0xffffffff), uint64(16)])]],
    [
      'a dimension of 2^64 - 1',
      [Buffer.concat([ggufString(name), uint32(1), uint64(2n ** 64n - 1n), uint32(0), uint64(0)])],
    ],
    ['dimensions whose product is 2^64', [ggufTensor(name, [2 ** 32, 2 ** 32], 0, 0)]],
    ['more elements than the file has', [ggufTensor(name, [17], 0, 0)]],
    ['fewer elements than the file has', [ggufTensor(name, [7], 0, 0)]],
    ['an offset behind the end', [ggufTensor(name, [16], 0, 64)]],
    ['an offset of 2^64 - 1', [ggufTensor(name, [16], 0, 2n ** 64n - 1n)]],
    ['an offset of 2^53 - 1', [ggufTensor(name, [16], 0, 2n ** 53n - 1n)]],
    [
      'an offset that is not aligned',
      [ggufTensor(name, [8], 0, 0), ggufTensor('output_norm.bias', [4], 0, 48)],
    ],
    ['a gap', [ggufTensor(name, [4], 0, 0), ggufTensor('output_norm.bias', [4], 0, 64)]],
    ['an overlap', [ggufTensor(name, [16], 0, 0), ggufTensor('output_norm.bias', [8], 0, 32)]],
    ['two in one place', [ggufTensor(name, [8], 0, 0), ggufTensor('output_norm.bias', [8], 0, 0)]],
    ['a tensor twice', [ggufTensor(name, [8], 0, 0), ggufTensor(name, [8], 0, 32)]],
    ['half a block', [ggufTensor('blk.0.time_mix_key.weight', [1, 16], 8, 0)]],
    ['rows in the middle of blocks', [ggufTensor('blk.0.time_mix_key.weight', [2, 16], 8, 0)]],
    ['heads that do not divide the channels', [ggufTensor('blk.0.time_mix_first.weight', [15], 0, 0)]],
    ['a LoRA matrix of one dimension', [ggufTensor('blk.0.time_mix_w1.weight', [16], 0, 0)]],
    [
      'four vectors for the token shift',
      [ggufTensor('blk.0.time_mix_lerp_fused.weight', [4, 1, 1, 4], 0, 0)],
    ],
    [
      'a vector of the token shift twice',
      [
        ggufTensor('blk.0.time_mix_lerp_fused.weight', [5, 1, 1, 1], 0, 0),
        ggufTensor('blk.0.time_mix_lerp_v.weight', [1], 0, 32),
      ],
    ],
  ])('%s', async (_, tensors) => {
    expect((await refuse(described(...tensors))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, number]>([
    ['Q8_1', 9],
    ['Q8_K', 15],
    ['IQ2_XXS', 16],
    ['IQ3_S', 21],
    ['I8', 24],
    ['F64', 28],
    ['TQ1_0', 34],
    ['IQ4_NL_4_4', 36],
    ['MXFP4', 39],
    ['NVFP4', 40],
    ['Q2_0', 42],
    ['number 43', 43],
    ['number 4294967295', 0xffffffff],
  ])('elements of %s (not supported)', async (found, type) => {
    expect(await refuse(described(ggufTensor(name, [16], type, 0)))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      tensor: name,
      found,
    });
  });

  test.each([
    'rope_freqs.weight',
    'blk.0.attn_q.weight',
    'blk.x.attn_norm.weight',
    'blk.0.time_mix_k_k.weight',
  ])('one that belongs to another model, %s (not supported)', async (unknown) => {
    expect(await refuse(described(ggufTensor(unknown, [16], 0, 0)))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      tensor: unknown,
    });
  });

  test('no elements (not supported)', async () => {
    expect((await refuse(described(ggufTensor(name, [0], 0, 0)))).code).toBe('ERR_WKV_UNSUPPORTED');
  });

  test('something behind its end', async () => {
    expect((await refuse(Buffer.concat([file(), Buffer.alloc(33)]))).code).toBe('ERR_WKV_FORMAT');
  });

  test('weights divided by what leaves nothing of them', async () => {
    const metadata = ggufMetadata('rwkv6', undefined, 1);
    const far = { ...norm, name: 'blk.1000.time_mix_output.weight', shape: [2, 4] };
    const error = await refuse(ggufBytes([far], { metadata }));
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', tensor: far.name });
  });
});

test('a GGUF file is refused wherever it is cut off', async () => {
  const bytes = ggufBytes(ggufTensors('rwkv6', rwkv6()), { metadata: ggufMetadata('rwkv6'), padEnd: false });
  for (let length = 0; length < bytes.length; length += 4001) {
    expect((await refuse(bytes.subarray(0, length))).code).toBe('ERR_WKV_FORMAT');
  }
});
