import { readFileSync, writeFileSync } from 'node:fs';
import { WkvError } from '../../lib/errors';
import { openTensorDirectory } from '../../lib/formats';
import { bytesOfNumbers, type StoredTensor, type TensorDirectory } from '../../lib/formats/tensor-directory';
import { ggufMetadata } from '../support/gguf-models';
import { ggufBytes, type GgufEntry } from '../support/gguf-writer';
import { pthBytes } from '../support/pth-writer';
import { safetensorsBytes } from '../support/safetensors-writer';
import { leavingNothing, smallModel, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

const vocabulary: Record<string, GgufEntry> = {
  'tokenizer.ggml.model': ['string', 'rwkv'],
  'tokenizer.ggml.tokens': ['array', 'string', ['<s>', 'a', '\\n']],
};

const files: [string, Buffer][] = [
  ['a .pth', pthBytes(smallModel, { alignment: 1, folder: 'm' })],
  [
    'a .pth of pickle protocol 4',
    pthBytes(smallModel, { alignment: 1, folder: 'm', protocol: 4, ordered: true }),
  ],
  ['a .pth with zip64', pthBytes(smallModel, { alignment: 1, folder: 'm', zip64: true })],
  ['a deflated .pth', pthBytes(smallModel, { alignment: 1, folder: 'm', compression: 'deflated' })],
  ['a .pth of before 1.6', pthBytes(smallModel, { container: 'legacy' })],
  ['a .safetensors', safetensorsBytes(smallModel, { metadata: { format: 'pt' } })],
  [
    'a .gguf',
    ggufBytes(
      [
        { name: 'output_norm.bias', type: 'f32', shape: [3], data: [1, 2, 3] },
        { name: 'blk.0.time_mix_w1.weight', type: 'f16', shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 7, 8] },
        {
          name: 'blk.1.time_mix_output.weight',
          type: 'q4_0',
          shape: [1, 32],
          data: Array<number>(32).fill(1),
        },
      ],
      { metadata: { ...ggufMetadata('rwkv6', undefined, 1), ...vocabulary }, padEnd: false },
    ),
  ],
];

/** What became of a file: the code of its refusal, or that its tensors all lie within its files. */
async function outcome(path: string): Promise<string> {
  let directory: TensorDirectory;
  try {
    directory = await openTensorDirectory(path);
  } catch (error) {
    if (error instanceof WkvError) return error.code;
    throw error;
  }
  for (const tensor of directory.tensors) {
    const { offset, file } = tensor;
    const end = offset + (tensor.type === 'packed' ? tensor.bytes : spannedBytes(tensor));
    if (!(offset >= 0 && end <= directory.files[file]!.size)) return 'a tensor outside of its file';
  }
  await directory.close();
  return 'read';
}

/** Bytes from the first element to the last. */
function spannedBytes({ type, shape, strides }: StoredTensor): number {
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
  return bytesOfNumbers(type, last + 1);
}

/** Marsaglia's xorshift32: the same damage in every run. */
function randomIntegers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** What becomes of `count` files with these bytes, eight at a time; no trace may be left of them. */
async function outcomes(count: number, bytesOf: (index: number) => Uint8Array): Promise<string[]> {
  return await leavingNothing(async () => {
    const results: string[] = [];
    for (let first = 0; first < count; first += 8) {
      const batch = Array.from({ length: Math.min(8, count - first) }, async (_, place) => {
        const path = scratch(`damaged${place}`);
        writeFileSync(path, bytesOf(first + place));
        return await outcome(path);
      });
      results.push(...(await Promise.all(batch)));
    }
    return results;
  });
}

describe.each(files)('%s', (_, bytes) => {
  test('is refused as damaged wherever it is cut off', async () => {
    const results = await outcomes(bytes.length, (length) => bytes.subarray(0, length));
    expect(new Set(results)).toEqual(new Set(['ERR_WKV_FORMAT']));
  });

  test('is refused or read within its bounds with any one byte changed', async () => {
    const random = randomIntegers(0x2545f491);
    const results = await outcomes(bytes.length, (at) => {
      const damaged = Buffer.from(bytes);
      damaged[at] = damaged[at]! ^ (1 + random(255));
      return damaged;
    });
    // Elements are not checksummed in every format, and names may change, so that some damage passes unnoticed.
    expect(new Set(results)).toEqual(new Set(['ERR_WKV_FORMAT', 'ERR_WKV_UNSUPPORTED', 'read']));
  });

  test('is refused or read within its bounds with parts of it overwritten or moved', async () => {
    const random = randomIntegers(0x9e3779b9);
    const results = await outcomes(500, () => {
      const damaged = Buffer.from(bytes);
      const from = random(bytes.length);
      const to = Math.min(bytes.length, from + 1 + random(16));
      if (random(2) === 0) damaged.fill([0, 0xff, 0x7f, 0x80][random(4)]!, from, to);
      else damaged.copyWithin(random(bytes.length), from, to);
      return damaged;
    });
    const harmless = new Set(['ERR_WKV_FORMAT', 'ERR_WKV_UNSUPPORTED', 'read']);
    expect(results.filter((result) => !harmless.has(result))).toEqual([]);
    expect(results).toContain('ERR_WKV_FORMAT');
  });
});

test('a file that is read a thousand times leaves no handle open', async () => {
  const path = scratch('again.pth');
  writeFileSync(path, files[0]![1]);
  await leavingNothing(async () => {
    for (let round = 0; round < 1000; round++) await (await openTensorDirectory(path)).close();
  });
  expect(readFileSync(path)).toEqual(files[0]![1]);
});
