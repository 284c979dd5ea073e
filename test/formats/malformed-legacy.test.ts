import { writeFileSync } from 'node:fs';
import { call, global, pickle, type Python, tuple } from '../support/pickle-writer';
import { pthBytes } from '../support/pth-writer';
import { readTensors } from '../support/read-tensors';
import { uint64 } from '../support/zip-writer';
import { pickledTensor, refusalOf, smallModel, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

const machine: Python = { dict: [['little_endian', true]] };
const model: Python = { dict: [['a', pickledTensor()]] };

interface Parts {
  magic?: Python;
  version?: Python;
  facts?: Python;
  object?: Python;
  keys?: Python;
  /** What follows the pickles. */
  rest?: readonly Uint8Array[];
}

/** A torch file of before 1.6 with one tensor `a` of four float32: 0, 1, 2, 3. */
function file({
  magic = 0x1950a86a20f9469cfc6cn,
  version = 1001,
  facts = machine,
  object = model,
  keys = { list: ['0'] },
  rest = [uint64(4), Buffer.from(Float32Array.of(0, 1, 2, 3).buffer)],
}: Parts = {}): Buffer {
  return Buffer.concat([...[magic, version, facts, object, keys].map((value) => pickle(value)), ...rest]);
}

/** The same with a vector for `a`, of so many elements from `offset` on in a view of the storage. */
function viewing(view: Python, offset: number, elements: number): Buffer {
  const id = tuple('storage', global('torch', 'FloatStorage'), '0', 'cpu', 4, view);
  const rebuild = global('torch._utils', '_rebuild_tensor');
  const tensor = call(rebuild, { persistent: id }, offset, tuple(elements), tuple(1));
  return file({ object: { dict: [['a', tensor]] } });
}

async function refuse(bytes: Uint8Array): Promise<{ code: string; message: string }> {
  return await refusalOf(scratch('malformed.pth'), bytes);
}

async function valuesOf(bytes: Uint8Array): Promise<number[]> {
  writeFileSync(scratch('good.pth'), bytes);
  return [...((await readTensors(scratch('good.pth'))).get('a')?.values ?? [])];
}

describe('a torch file of before 1.6', () => {
  test('is read', async () => {
    expect(await valuesOf(file())).toEqual([0, 1, 2, 3]);
  });

  test('is read where its pickle is larger than what is read at once', async () => {
    const object: Python = {
      dict: [
        ['padding', 'x'.repeat(6 << 20)],
        ['a', pickledTensor()],
      ],
    };
    expect(await valuesOf(file({ object }))).toEqual([0, 1, 2, 3]);
  });

  test('may have storages that are views of others', async () => {
    expect(await valuesOf(viewing(tuple('view', 1, 3), 1, 2))).toEqual([2, 3]);
  });

  test.each<[string, Python]>([
    ['longer than its storage', tuple('view', 1, 4)],
    ['with an offset of 2^60', tuple('view', 1n << 60n, 1)],
    ['with a negative offset', tuple('view', -1, 2)],
    ['that is no view', 'view'],
  ])('is refused with a view %s', async (_, view) => {
    expect((await refuse(viewing(view, 0, 1))).code).toBe('ERR_WKV_FORMAT');
  });

  test('is refused where a tensor reaches beyond the view it lies in', async () => {
    expect((await refuse(viewing(tuple('view', 0, 2), 0, 3))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, Parts]>([
    ['nothing about the machine', { facts: null }],
    ['a list of storages that is none', { keys: tuple('0') }],
    ['numbers for the names of storages', { keys: { list: [0] } }],
    ['a storage twice', { keys: { list: ['0', '0'] } }],
    ['a storage that no tensor mentions', { keys: { list: ['0', '1'] } }],
    ['no storage', { keys: { list: [] }, rest: [] }],
    ['a storage that is missing', { rest: [] }],
    ['a storage of other length', { rest: [uint64(3), Buffer.alloc(16)] }],
    ['a storage of 2^64 - 4 elements', { rest: [uint64((1n << 64n) - 4n), Buffer.alloc(16)] }],
    ['a storage that is too short', { rest: [uint64(4), Buffer.alloc(15)] }],
    ['something behind its end', { rest: [uint64(4), Buffer.alloc(17)] }],
    ['a tensor of 2^52 elements', { object: { dict: [['a', pickledTensor({ elements: 1n << 52n })]] } }],
    ['text where a pickle is expected', { rest: [], keys: 'x' }],
  ])('is refused with %s', async (_, parts) => {
    expect((await refuse(file(parts))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, Parts]>([
    ['another magic number', { magic: 0x1950a86a20f9469cfc6dn }],
    ['text for a magic number', { magic: 'torch' }],
    ['another version', { version: 1002 }],
    ['big-endian numbers', { facts: { dict: [['little_endian', false]] } }],
    ['nothing about the order of bytes', { facts: { dict: [] } }],
    ['code', { object: call(global('os', 'system'), 'id') }],
    ['code in its list of storages', { keys: call(global('os', 'system'), 'id') }],
  ])('is refused as not supported with %s', async (_, parts) => {
    expect((await refuse(file(parts))).code).toBe('ERR_WKV_UNSUPPORTED');
  });

  test('is refused with more storages than a model can have, before they are looked for', async () => {
    const keys = { list: Array.from({ length: 100_001 }, (_, i) => String(i)) };
    expect((await refuse(file({ keys }))).message).toContain('holds more than 100000 storages');
  });

  test('is refused where a pickle never ends', async () => {
    const pickles = pthBytes(smallModel, { container: 'legacy' }).subarray(0, 40);
    const endless = Buffer.concat([
      pickles.subarray(0, 15),
      Buffer.of(0x80, 2),
      Buffer.alloc(5 << 20, 'C\x08 bytes  0'),
    ]);
    expect((await refuse(endless)).message).toContain('ends inside a pickle');
  });

  test('is refused with a pickle of more than 32 MB, without reading all of it', async () => {
    const bytes = Buffer.concat([pickle('x'.repeat(40_000_000)), Buffer.alloc(16)]);
    expect((await refuse(bytes)).message).toContain('a pickle has more than 32000000 bytes');
  });
});
