import { writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { openTensorDirectory } from '../../lib/formats';
import { TemporaryFile } from '../../lib/formats/temporary-file';
import { pickle } from '../support/pickle-writer';
import { type PthOptions, pthBytes, type WritableTensor } from '../support/pth-writer';
import { uint16, uint32, uint64, zipArchive, type ZipFile } from '../support/zip-writer';
import { pickledTensor, refusalOf, smallModel, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

const local = 0x04034b50;
const central = 0x02014b50;
const end = 0x06054b50;
const end64 = 0x06064b50;
const locator = 0x07064b50;
const descriptor = 0x08074b50;

/** Changes one field of the header of that kind that stands before or in front of `name` (or of the only one). */
function patched(bytes: Buffer, kind: number, field: number, value: Uint8Array, name?: string): Buffer {
  const copy = Buffer.from(bytes);
  const nameAt = kind === local ? 30 : 46;
  for (let at = copy.indexOf(uint32(kind)); at >= 0; at = copy.indexOf(uint32(kind), at + 1)) {
    if (name === undefined || copy.toString('utf8', at + nameAt, at + nameAt + name.length) === name) {
      copy.set(value, at + field);
      return copy;
    }
  }
  throw new Error(`no header ${kind.toString(16)} of ${name ?? 'any name'}`);
}

async function refuse(bytes: Uint8Array): Promise<{ code: string; message: string }> {
  return await refusalOf(scratch('malformed.pth'), bytes);
}

function model(options: PthOptions = {}): Buffer {
  return pthBytes(smallModel, { alignment: 1, ...options });
}

/** The entries of an archive with one tensor `a` of four float32. */
function entries(): { pickle: ZipFile; storage: ZipFile } {
  return {
    pickle: { name: 'm/data.pkl', data: pickle({ dict: [['a', pickledTensor()]] }) },
    storage: { name: 'm/data/0', data: Buffer.alloc(16) },
  };
}

describe('a zip archive whose end record lies is refused:', () => {
  const plain = model();
  const large = model({ zip64: true });

  test.each<[string, Buffer]>([
    ['no end record', plain.subarray(0, -22)],
    ['something behind the end', Buffer.concat([plain, Buffer.of(0)])],
    ['a comment that is not there', patched(plain, end, 20, uint16(100))],
    ['a directory further on', patched(plain, end, 16, uint32(plain.length))],
    ['a directory elsewhere', patched(plain, end, 16, uint32(0))],
    ['a larger directory', patched(plain, end, 12, uint32(0x7fffffff))],
    ['an empty directory', patched(plain, end, 12, uint32(0))],
    ['more entries', patched(plain, end, 8, uint16(60000, 60000))],
    ['fewer entries', patched(plain, end, 8, uint16(1, 1))],
    ['all but the last entry', patched(plain, end, 8, uint16(4, 4))],
    ['zip64 numbers that are nowhere', patched(plain, end, 16, uint32(0xffffffff))],
    ['something in front of the archive', Buffer.concat([plain.subarray(0, 4), plain])],
    ['a zip64 locator that points behind the file', patched(large, locator, 8, uint64(1n << 40n))],
    ['a zip64 locator that points to 2^63', patched(large, locator, 8, uint64(1n << 63n))],
    ['a zip64 locator that points to an entry', patched(large, locator, 8, uint64(0))],
    ['a zip64 record of another length', patched(large, end64, 4, uint64(45))],
    ['a zip64 record of 2^64 bytes', patched(large, end64, 4, uint64((1n << 64n) - 1n))],
    ['a zip64 directory of 2^63 bytes', patched(large, end64, 40, uint64(1n << 63n))],
    ['a zip64 directory elsewhere', patched(large, end64, 48, uint64(8))],
    [
      '2^60 zip64 entries',
      patched(patched(large, end64, 32, uint64(1n << 60n)), end64, 24, uint64(1n << 60n)),
    ],
    ['a million zip64 entries', patched(patched(large, end64, 32, uint64(1e6)), end64, 24, uint64(1e6))],
    ['two end records that disagree', patched(large, end, 16, uint32(7))],
    ['two end records that disagree on the size', patched(large, end, 12, uint32(7))],
    ['two end records that disagree on the entries', patched(large, end, 10, uint16(7))],
  ])('%s', async (_, bytes) => {
    expect((await refuse(bytes)).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, Buffer]>([
    ['several disks', patched(plain, end, 4, uint16(1, 1))],
    ['an end on a second disk', patched(plain, end, 4, uint16(1))],
    ['a directory on a second disk', patched(plain, end, 6, uint16(1))],
    ['entries on a second disk', patched(plain, end, 8, uint16(1))],
    ['several disks in zip64', patched(large, end64, 16, uint32(1, 1))],
    ['two disks in zip64', patched(large, locator, 16, uint32(2))],
    ['entries on a second disk in zip64', patched(large, end64, 24, uint64(1))],
  ])('%s (not supported)', async (_, bytes) => {
    expect((await refuse(bytes)).code).toBe('ERR_WKV_UNSUPPORTED');
  });
});

test.each([
  [2, 32_000_001],
  [200_001, 10_000_000],
])('a zip directory of %d entries in %d bytes is refused before it is read', async (entries, size) => {
  const ends = [
    [end64, 24, uint64(entries)],
    [end64, 32, uint64(entries)],
    [end64, 40, uint64(size)],
    [locator, 8, uint64(size)],
  ] as const;
  const behind = ends.reduce(
    (bytes, [kind, field, value]) => patched(bytes, kind, field, value),
    zipArchive([], { zip64: true }),
  );
  const error = await refuse(Buffer.concat([Buffer.alloc(size, uint32(local)), behind]));
  expect(error.code).toBe('ERR_WKV_FORMAT');
  expect(error.message).toContain(`the zip directory has ${entries} entries in ${size} bytes`);
});

describe('a zip archive whose directory lies is refused:', () => {
  const plain = model({ folder: 'm' });
  const bare = model({ folder: 'm', descriptors: false });
  const large = model({ folder: 'm', zip64: true });

  test.each<[string, Buffer]>([
    ['a damaged signature', patched(plain, central, 0, uint32(0))],
    ['a name that reaches over the end', patched(plain, central, 28, uint16(0xffff), 'm/version')],
    ['a comment that reaches over the end', patched(plain, central, 32, uint16(0xffff), 'm/version')],
    ['another checksum of the pickle', patched(plain, central, 16, uint32(1), 'm/data.pkl')],
    ['another size', patched(plain, central, 24, uint32(11), 'm/data/0')],
    ['another compressed size', patched(plain, central, 20, uint32(11), 'm/data/0')],
    ['a stored entry of other size', patched(plain, central, 20, uint32(16, 16), 'm/data/0')],
    ['an entry of 4 GB', patched(plain, central, 20, uint32(0xfffffffe, 0xfffffffe), 'm/data/0')],
    ['an offset in the middle of nowhere', patched(plain, central, 42, uint32(3), 'm/data/0')],
    ['an offset of another entry', patched(plain, central, 42, uint32(0), 'm/data/0')],
    ['an offset behind the file', patched(plain, central, 42, uint32(0xfffffff0), 'm/data/0')],
    ['another method', patched(plain, central, 10, uint16(8), 'm/data/0')],
    ['a method the local header has not', patched(plain, local, 8, uint16(8), 'm/data/0')],
    ['a name the local header has not', patched(plain, local, 30, Buffer.from('x'), 'm/data/0')],
    ['a longer local name', patched(plain, local, 26, uint16(0xffff), 'm/data/0')],
    ['longer local extra fields', patched(plain, local, 28, uint16(0xffff), 'm/data/0')],
    [
      'longer local extra fields of the last entry that is read',
      patched(plain, local, 28, uint16(24), 'm/data/2'),
    ],
    ['a size the local header has not', patched(bare, local, 22, uint32(11), 'm/data/0')],
    ['a checksum the local header has not', patched(bare, local, 14, uint32(11), 'm/data/0')],
    [
      'a size that is neither known before the bytes nor right',
      patched(plain, local, 22, uint32(11), 'm/data/0'),
    ],
    ['a descriptor the local header has not', patched(plain, local, 6, uint16(0x800), 'm/data/0')],
    [
      'a descriptor that is not there',
      patched(patched(bare, local, 6, uint16(0x808), 'm/data/0'), central, 8, uint16(0x808), 'm/data/0'),
    ],
    ['a checksum the descriptor has not', patched(plain, descriptor, 4, uint32(11))],
    ['a size the descriptor has not', patched(plain, descriptor, 12, uint32(11))],
    ['zip64 sizes of 2^63', patched(large, central, 46 + 8 + 4, uint64(1n << 63n), 'm/data/0')],
    [
      'zip64 sizes of 2^52',
      patched(large, central, 46 + 8 + 4, Buffer.concat([uint64(1n << 52n), uint64(1n << 52n)]), 'm/data/0'),
    ],
    ['zip64 offsets of 2^52', patched(large, central, 46 + 8 + 4 + 16, uint64(1n << 52n), 'm/data/0')],
    ['zip64 sizes that are missing', patched(large, central, 46 + 8, uint16(2), 'm/data/0')],
    ['zip64 sizes that are cut off', patched(large, central, 46 + 8 + 2, uint16(4), 'm/data/0')],
    ['an entry of the same name', zipArchive([entries().pickle, entries().storage, entries().storage])],
    ['a name that is not UTF-8', patched(plain, central, 46, Buffer.of(0xff), 'm/data/0')],
  ])('%s', async (_, bytes) => {
    expect((await refuse(bytes)).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, Buffer, RegExp]>([
    ['encryption', patched(plain, central, 8, uint16(0x809), 'm/data/0'), /encrypted/],
    ['strong encryption', patched(plain, central, 8, uint16(0x848), 'm/data/0'), /encrypted/],
    ['an encrypted directory', patched(plain, central, 8, uint16(0x2808), 'm/data/0'), /encrypted/],
    ['LZMA', patched(plain, central, 10, uint16(14), 'm/data/0'), /method 14/],
    ['deflate64', patched(plain, central, 10, uint16(9), 'm/data/0'), /method 9/],
    ['zstd', patched(plain, central, 10, uint16(93), 'm/data/0'), /method 93/],
    ['big-endian numbers', model({ byteOrder: 'big' }), /big-endian/],
  ])('%s (not supported)', async (_, bytes, message) => {
    const error = await refuse(bytes);
    expect(error.code).toBe('ERR_WKV_UNSUPPORTED');
    expect(error.message).toMatch(message);
  });
});

describe('a zip archive whose content lies is refused:', () => {
  test('a pickle in which one letter of a name has changed', async () => {
    const bytes = Buffer.from(model());
    bytes.write('heat.weight', bytes.indexOf('head.weight'));
    expect((await refuse(bytes)).message).toContain('is damaged: size or checksum');
  });

  test.each([1, 8])('a storage that would begin %i bytes late, and end in the next entry', async (late) => {
    const { pickle: data, storage } = entries();
    const bytes = zipArchive([data, storage, { name: 'm/version', data: Buffer.from('3') }]);
    const error = await refuse(patched(bytes, local, 28, uint16(late), storage.name));
    expect(error.message).toContain('does not fit before what follows it');
  });

  test('two pickles', async () => {
    const { pickle: data, storage } = entries();
    expect((await refuse(zipArchive([data, { ...data, name: 'n/data.pkl' }, storage]))).code).toBe(
      'ERR_WKV_FORMAT',
    );
  });

  test('a storage that is missing', async () => {
    expect((await refuse(zipArchive([entries().pickle]))).message).toContain('is missing');
  });

  test('a storage that is too short', async () => {
    const { pickle: data, storage } = entries();
    const error = await refuse(zipArchive([data, { ...storage, data: Buffer.alloc(15) }]));
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', expected: '16 bytes', found: '15 bytes' });
  });

  test('a storage that is too long', async () => {
    const { pickle: data, storage } = entries();
    expect((await refuse(zipArchive([data, { ...storage, data: Buffer.alloc(20) }]))).code).toBe(
      'ERR_WKV_FORMAT',
    );
  });

  test('two entries in the same bytes', async () => {
    const { pickle: data, storage } = entries();
    const twins = zipArchive([data, storage, { ...storage, name: 'm/data/1' }]);
    const at = twins.indexOf('m/data/0') - 30;
    expect((await refuse(patched(twins, central, 42, uint32(at), 'm/data/1'))).message).toContain('overlaps');
  });

  test('a pickle that is hidden in a storage', async () => {
    // The directory says that data.pkl is the whole archive up to the directory, storages included.
    const { pickle: data, storage } = entries();
    const bytes = zipArchive([data, storage]);
    const whole = bytes.indexOf(uint32(central)) - 30 - data.name.length;
    expect((await refuse(patched(bytes, central, 20, uint32(whole, whole), data.name))).code).toBe(
      'ERR_WKV_FORMAT',
    );
  });
});

describe('a zip archive is read', () => {
  async function tensorsOf(bytes: Buffer): Promise<number> {
    writeFileSync(scratch('good.pth'), bytes);
    return (await openTensorDirectory(scratch('good.pth'))).tensors.length;
  }
  const { pickle: data, storage } = entries();

  test('without checksums, as torch writes it where it was told to', async () => {
    let bytes = zipArchive([data, storage]);
    for (const { name } of [data, storage]) {
      bytes = patched(patched(bytes, central, 16, uint32(0), name), local, 14, uint32(0), name);
    }
    expect(await tensorsOf(bytes)).toBe(1);
    expect((await refuse(patched(bytes, central, 20, uint32(10, 10), data.name))).code).toBe(
      'ERR_WKV_FORMAT',
    );
    expect((await refuse(patched(bytes, central, 16, uint32(1), data.name))).code).toBe('ERR_WKV_FORMAT');
  });

  test('with other extra fields in front of those of zip64', async () => {
    const bytes = zipArchive([data, storage], { zip64: true });
    const time = Buffer.concat([uint16(0x5455, 5), Buffer.alloc(5)]);
    const at = bytes.lastIndexOf(storage.name) + storage.name.length;
    const longer = Buffer.concat([bytes.subarray(0, at), time, bytes.subarray(at)]);
    const record = longer.indexOf(uint32(end64));
    const size = record - longer.indexOf(uint32(central));
    const zip64 = patched(patched(longer, end64, 40, uint64(size)), locator, 8, uint64(record));
    expect(await tensorsOf(patched(zip64, central, 30, uint16(28 + time.length), storage.name))).toBe(1);
  });

  test.each([
    ['sizes', 18, [16, 16]],
    ['the compressed size', 18, [16]],
    ['the size', 22, [16]],
    ['a checksum', 14, [crc32(storage.data)]],
  ])('where %s are known before the bytes, and told behind them as well', async (_, field, values) => {
    const bytes = zipArchive([data, storage], { descriptors: true });
    expect(await tensorsOf(patched(bytes, local, field, uint32(...values), storage.name))).toBe(1);
  });
});

describe('a zip archive with entries that are not read', () => {
  test('may have them encrypted in name only where they are in the way of nothing', async () => {
    const { pickle: data, storage } = entries();
    const directory: ZipFile = { name: 'm/', data: Buffer.alloc(0) };
    const extra: ZipFile = { name: 'm/.data/serialization_id', data: Buffer.from('0123') };
    writeFileSync(scratch('extra.pth'), zipArchive([directory, data, storage, extra]));
    expect((await openTensorDirectory(scratch('extra.pth'))).tensors).toHaveLength(1);
  });
});

describe('a deflated entry is refused', () => {
  const count = 100_000;
  const zeros: WritableTensor = { name: 'zeros', type: 'f32', shape: [count], data: new Float32Array(count) };
  const bomb = pthBytes([zeros], { compression: 'deflated', folder: 'm', alignment: 1 });
  const noise = Float32Array.from({ length: count }, (_, index) => Math.sin(index));
  const dense = pthBytes([{ ...zeros, data: noise }], { compression: 'deflated', folder: 'm', alignment: 1 });

  /** The same archive, but the pickle asks for `elements` and the directory says the storage has as many. */
  function resized(elements: number): Buffer {
    const data = pickle({ dict: [['a', pickledTensor({ elements, shape: [elements], strides: [1] })]] });
    const storage = Buffer.alloc(4 * count);
    const bytes = zipArchive([
      { name: 'm/data.pkl', data },
      { name: 'm/data/0', data: storage, compression: 'deflated' },
    ]);
    const lied = patched(bytes, central, 24, uint32(4 * elements), 'm/data/0');
    return patched(lied, local, 22, uint32(4 * elements), 'm/data/0');
  }

  test('that holds more than it says', async () => {
    expect((await refuse(resized(count - 1))).message).toContain('is damaged');
  });

  test('that holds more than it says before the excess is written', async () => {
    const append = jest.spyOn(TemporaryFile.prototype, 'append');
    try {
      await refuse(resized(1));
      const written = append.mock.calls.reduce((sum, [chunk]) => sum + chunk.length, 0);
      expect(written).toBeLessThanOrEqual(4);
    } finally {
      append.mockRestore();
    }
  });

  test('that holds less than it says', async () => {
    expect((await refuse(resized(count + 1))).message).toContain('is damaged');
  });

  test('that says that it grows a million times', async () => {
    expect((await refuse(resized(1 << 28))).message).toContain('claims to grow');
  });

  test('whose pickle says that it grows a million times', async () => {
    const bytes = patched(bomb, central, 24, uint32(30_000_000), 'm/data.pkl');
    expect((await refuse(bytes)).message).toContain('claims to grow');
  });

  test('whose pickle is too large for memory', async () => {
    const bytes = patched(bomb, central, 24, uint32(3_000_000_000), 'm/data.pkl');
    expect((await refuse(bytes)).message).toContain('too large for a header');
  });

  test('whose pickle holds more than it says', async () => {
    const { pickle: data, storage } = entries();
    const bytes = zipArchive([{ ...data, compression: 'deflated' }, storage]);
    const lied = patched(
      patched(bytes, central, 24, uint32(20), data.name),
      local,
      22,
      uint32(20),
      data.name,
    );
    expect((await refuse(lied)).message).toContain('is damaged');
  });

  test('with a wrong checksum', async () => {
    const lied = patched(dense, central, 16, uint32(1), 'm/data/0');
    const at = lied.lastIndexOf(uint32(descriptor), lied.indexOf('m/version'));
    lied.set(uint32(1), at + 4);
    expect((await refuse(lied)).message).toContain('is damaged: size or checksum');
  });

  test.each([
    ['at its beginning', 0],
    ['in its middle', 150_000],
  ])('with damage %s', async (_, place) => {
    const damaged = Buffer.from(dense);
    const at = damaged.indexOf('m/data/0') + 'm/data/0'.length + place;
    damaged.set(Buffer.alloc(64, 0xff), at);
    expect((await refuse(damaged)).message).toContain('is damaged');
  });

  // Node's inflater stops reading at the end of the compressed data: what follows must neither hang nor pass.
  test.each([1, 100, 20_000, 70_000, 1_100_000, 2_200_000, 3_000_000])(
    'with %d bytes behind its end',
    async (extra) => {
      const { pickle: data, storage } = entries();
      const bytes = zipArchive([data, { ...storage, compression: 'deflated' }]);
      const begin = bytes.indexOf(uint32(central));
      const directory = patched(bytes.subarray(begin), end, 16, uint32(begin + extra));
      const size = bytes.readUInt32LE(bytes.indexOf('m/data/0') - 12);
      const longer = Buffer.concat([bytes.subarray(0, begin), Buffer.alloc(extra, 0xaa), directory]);
      const lied = patched(
        patched(longer, central, 20, uint32(size + extra), 'm/data/0'),
        local,
        18,
        uint32(size + extra),
        'm/data/0',
      );
      expect((await refuse(lied)).message).toContain('is damaged');
    },
  );
});
