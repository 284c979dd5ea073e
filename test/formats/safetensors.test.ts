import { writeFileSync } from 'node:fs';
import { openTensorDirectory } from '../../lib/formats';
import type { WritableTensor } from '../support/pth-writer';
import { readTensors } from '../support/read-tensors';
import { safetensorsContainer, writeSafetensors } from '../support/safetensors-writer';
import { leavingNothing, smallModel, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

describe('a .safetensors file', () => {
  test('is read with tensors of every type', async () => {
    const path = scratch('types.safetensors');
    await writeSafetensors(path, smallModel);
    const tensors = await leavingNothing(() => readTensors(path));
    expect(
      [...tensors.values()].map(({ name, type, shape, values }) => [name, type, shape, [...values]]),
    ).toEqual(smallModel.map(({ name, type, shape, data }) => [name, type, shape, Array.from(data)]));
  });

  test('tells its metadata', async () => {
    const path = scratch('metadata.safetensors');
    await writeSafetensors(path, smallModel, { metadata: { format: 'pt', author: '彭博' } });
    const { format, metadata } = await openTensorDirectory(path);
    expect(format).toBe('safetensors');
    expect(Object.entries(metadata)).toEqual([
      ['format', 'pt'],
      ['author', '彭博'],
    ]);
  });

  test('may have names and metadata that mean something to JavaScript', async () => {
    const path = scratch('names.safetensors');
    const header =
      '{"__metadata__":{"__proto__":"x"},"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]},' +
      '"constructor":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}';
    writeFileSync(path, safetensorsContainer(header, Buffer.alloc(8)));
    const { tensors, metadata } = await openTensorDirectory(path);
    expect(tensors.map(({ name, shape }) => [name, shape])).toEqual([
      ['__proto__', []],
      ['constructor', [1]],
    ]);
    expect(Object.entries(metadata)).toEqual([['__proto__', 'x']]);
  });

  test('may list its tensors in another order than their elements have', async () => {
    const path = scratch('order.safetensors');
    const header =
      '{"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    writeFileSync(path, safetensorsContainer(header, Buffer.from(Float32Array.of(1, 2, 3).buffer)));
    const tensors = await readTensors(path);
    expect([...(tensors.get('b')?.values ?? [])]).toEqual([2, 3]);
    expect([...(tensors.get('a')?.values ?? [])]).toEqual([1]);
  });

  // The length of the header comes first: these lengths look like a pickle of protocol 2, and like JSON.
  test.each([0x0280, 0x7b])('is recognized with a header of %d bytes', async (length) => {
    const path = scratch('length.safetensors');
    const tensor = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    const header = Buffer.from(tensor.padEnd(length));
    const bytes = Buffer.concat([Buffer.alloc(8), header, Buffer.alloc(4)]);
    bytes.writeUInt32LE(length, 0);
    writeFileSync(path, bytes);
    expect((await openTensorDirectory(path)).tensors).toHaveLength(1);
  });

  test('is recognized whatever its name is', async () => {
    const path = scratch('model.pth');
    const tensor: WritableTensor = { name: 'a', type: 'f16', shape: [1], data: [1] };
    await writeSafetensors(path, [tensor]);
    expect((await openTensorDirectory(path)).format).toBe('safetensors');
  });
});
