import { writeFileSync } from 'node:fs';
import { openTensorDirectory } from '../../lib/formats';
import { rwkvCppBytes, rwkvCppHeader, rwkvCppTensor } from '../support/rwkvcpp-writer';
import { uint32 } from '../support/zip-writer';
import { refusalOf, useScratchDirectory } from './support';

const scratch = useScratchDirectory();
const header = { vocabulary: 2, embedding: 4, layers: 1 };
const embedding = { name: 'emb.weight', type: 'f32' as const, shape: [2, 4], data: new Float64Array(8) };
const norm = { name: 'blocks.0.ln1.weight', type: 'f32' as const, shape: [4], data: new Float64Array(4) };
const sound = rwkvCppBytes(header, [embedding, norm]);

async function refuse(bytes: Uint8Array) {
  return await refusalOf(scratch('malformed.bin'), bytes);
}

/** A file whose last tensor is described so, followed by 64 bytes. */
const ending = (...description: readonly Buffer[]): Buffer =>
  Buffer.concat([sound, ...description, Buffer.alloc(64)]);

describe('a file of rwkv.cpp is refused', () => {
  test.each<[string, Buffer]>([
    ['without tensors', rwkvCppHeader(header)],
    ['with another vocabulary', rwkvCppBytes({ ...header, vocabulary: 3 }, [embedding, norm])],
    ['with another embedding', rwkvCppBytes({ ...header, embedding: 2 ** 32 - 1 }, [embedding, norm])],
    ['with other layers', rwkvCppBytes({ ...header, layers: 2 }, [embedding, norm])],
    ['with fewer layers', rwkvCppBytes({ ...header, layers: 0 }, [embedding, norm])],
    ['without an embedding', rwkvCppBytes(header, [norm])],
    ['with a tensor twice', rwkvCppBytes(header, [embedding, norm, norm])],
    ['with no dimensions', ending(rwkvCppTensor('a', [], 0))],
    ['with four dimensions', ending(rwkvCppTensor('a', [1, 1, 1, 16], 0))],
    ['with four billion dimensions', ending(uint32(0xffffffff, 1, 0))],
    ['with a name of no bytes', ending(rwkvCppTensor('', [16], 0))],
    ['with a name of four billion bytes', ending(uint32(1, 0xffffffff, 0, 16))],
    ['with a name that is not UTF-8', ending(rwkvCppTensor(Uint8Array.of(0xff), [16], 0))],
    ['with more elements than the file has', ending(rwkvCppTensor('a', [17], 0))],
    ['with fewer elements than the file has', ending(rwkvCppTensor('a', [15], 0))],
    ['with dimensions whose product is 2^64', ending(rwkvCppTensor('a', [2 ** 31, 2 ** 31, 4], 0))],
    ['with half a block', ending(rwkvCppTensor('a', [16], 9))],
    ['with rows in the middle of blocks', ending(rwkvCppTensor('a', [2, 16], 9))],
    [
      'with a vector of the token shift of RWKV-7 twice',
      Buffer.concat([
        rwkvCppBytes(header, [embedding, { ...norm, name: 'blocks.0.att.k_k' }]),
        rwkvCppTensor('blocks.0.att.x_rwkvag', [4, 1, 6], 0),
        Buffer.alloc(96),
        rwkvCppTensor('blocks.0.att.x_r', [4], 0),
        Buffer.alloc(16),
      ]),
    ],
    [
      'with five vectors for the token shift of RWKV-7',
      Buffer.concat([
        rwkvCppBytes(header, [embedding, { ...norm, name: 'blocks.0.att.k_k' }]),
        rwkvCppTensor('blocks.0.att.x_rwkvag', [5, 1, 4], 0),
        Buffer.alloc(80),
      ]),
    ],
  ])('%s', async (_, bytes) => {
    expect((await refuse(bytes)).code).toBe('ERR_WKV_FORMAT');
  });

  test.each([0, 1, 99, 102, 0xffffffff])('of version %d (not supported)', async (version) => {
    expect(await refuse(rwkvCppBytes({ ...header, version }, [embedding, norm]))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      found: `version ${version}`,
    });
  });

  test.each<[number, string]>([
    [4, 'Q4_1_O'],
    [5, 'Q4_2'],
    [6, 'Q4_3'],
    [10, 'Q8_1'],
    [16, 'Q8_K'],
    [17, 'number 17'],
    [0xffffffff, 'number 4294967295'],
  ])('with numbers of type %d (not supported)', async (type, found) => {
    expect(await refuse(ending(rwkvCppTensor('a', [16], type)))).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', tensor: 'a', found },
    });
    expect(await refuse(rwkvCppBytes({ ...header, type }, [embedding, norm]))).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', found },
    });
  });

  test('of version 100 with blocks, which were others then (not supported)', async () => {
    const old = { ...header, version: 100 };
    expect(await refuse(rwkvCppBytes({ ...old, type: 2 }, [embedding, norm]))).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', found: 'Q4_0 of version 100' },
    });
    const blocks = { ...norm, name: 'a', type: 'q5_1' as const, shape: [32], data: new Float64Array(32) };
    expect(await refuse(rwkvCppBytes(old, [embedding, blocks]))).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', tensor: 'a', found: 'Q5_1 of version 100' },
    });
  });

  test('with a name that is longer than any', async () => {
    const error = await refuse(ending(rwkvCppTensor('a'.repeat(1025), [16], 0)));
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', found: '1 dimensions and a name of 1025 bytes' });
  });

  test('with more than 100,000 tensors', async () => {
    const many = Array.from({ length: 100_001 }, (_, i) => [rwkvCppTensor(`a${i}`, [1], 0), Buffer.alloc(4)]);
    const error = await refuse(Buffer.concat([rwkvCppHeader(header), ...many.flat()]));
    expect(error.message).toContain('holds more than 100000 tensors');
  });

  test('with no elements (not supported)', async () => {
    expect((await refuse(ending(rwkvCppTensor('a', [0], 0)))).code).toBe('ERR_WKV_UNSUPPORTED');
  });

  test('wherever it is cut off, but between tensors', async () => {
    const whole = rwkvCppBytes(header, [embedding, norm, { ...norm, name: 'blocks.0.ln1.bias' }]);
    for (let length = 0; length < whole.length; length++) {
      if (length === sound.length) continue;
      expect((await refuse(whole.subarray(0, length))).code).toBe('ERR_WKV_FORMAT');
    }
  });
});

test('a file of many small tensors is read in a moment', async () => {
  const bias = { ...norm, shape: [1], data: [0] };
  const many = Array.from({ length: 20_000 }, (_, i) => ({ ...bias, name: `blocks.0.a${i}` }));
  const path = scratch('many.bin');
  writeFileSync(path, rwkvCppBytes(header, [embedding, ...many]));
  expect((await openTensorDirectory(path)).tensors).toHaveLength(20_001);
});
