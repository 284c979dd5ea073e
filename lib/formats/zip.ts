import { corrupt, unsupported, utf8 } from './failures';
import { maxHeaderBytes } from './limits';
import type { Source } from './source';
import { quoted } from '../quoted';

/** One file of a zip archive. */
export interface ZipEntry {
  name: string;
  compression: 'stored' | 'deflated';
  compressedSize: number;
  size: number;
  /** Of the uncompressed bytes. */
  crc32: number;
  /** Whether a data descriptor repeats checksum and sizes behind the bytes. */
  hasDescriptor: boolean;
  /** Place of the local header. */
  offset: number;
  /** Where the next entry, or the central directory, begins. */
  limit: number;
}

const endBytes = 22;
const end64Bytes = 56;
const locatorBytes = 20;
const centralBytes = 46;
const localBytes = 30;
const maxCommentBytes = 0xffff;
const maxEntries = 200_000;

interface DirectoryPlace {
  offset: number;
  size: number;
  entries: number;
}

/**
 * Reads the central directory of a zip archive (PKWARE's APPNOTE 6.3.10, with zip64).
 *
 * The archive has to fill the file: the end record is the last thing in it, the central directory lies right
 * before that, and the entries lie before the directory without touching each other.
 *
 * @returns the entries by name
 * @throws WkvError `ERR_WKV_FORMAT`, or `ERR_WKV_UNSUPPORTED` for encryption and for methods other than deflate
 */
export async function readZipDirectory(source: Source): Promise<Map<string, ZipEntry>> {
  const { path } = source;
  const place = await findDirectory(source);
  if (place.entries > maxEntries || place.size > maxHeaderBytes) {
    throw corrupt(path, `the zip directory has ${place.entries} entries in ${place.size} bytes`, {
      expected: `at most ${maxEntries} entries in ${maxHeaderBytes} bytes`,
    });
  }
  if (place.entries * centralBytes > place.size) {
    throw corrupt(path, `the zip directory is too short for its ${place.entries} entries`);
  }
  const bytes = await source.read(place.offset, place.size, 'the zip directory');
  const entries = new Map<string, ZipEntry>();
  let position = 0;
  for (let index = 0; index < place.entries; index++) {
    const { entry, length } = readCentralHeader(bytes, position, path);
    if (entries.has(entry.name)) throw corrupt(path, `the zip archive holds ${quoted(entry.name)} twice`);
    entries.set(entry.name, entry);
    position += length;
  }
  if (position !== place.size) throw corrupt(path, 'the zip directory is longer than its entries');
  checkOverlaps([...entries.values()], place.offset, path);
  return entries;
}

/**
 * Compares the local header of an entry with the central directory.
 *
 * @returns where the bytes of the entry begin
 */
export async function locateZipEntry(source: Source, entry: ZipEntry): Promise<number> {
  const { path } = source;
  const what = `the zip entry ${quoted(entry.name)}`;
  const header = await source.read(entry.offset, localBytes, `the header of ${what}`);
  if (header.readUInt32LE(0) !== 0x04034b50) {
    throw corrupt(
      path,
      `the zip directory says that ${what} is at byte ${entry.offset}, but it is not there`,
    );
  }
  const flags = header.readUInt16LE(6);
  const nameLength = header.readUInt16LE(26);
  const extraLength = header.readUInt16LE(28);
  const begin = entry.offset + localBytes + nameLength + extraLength;
  const variable = await source.read(
    entry.offset + localBytes,
    nameLength + extraLength,
    `the header of ${what}`,
  );
  const name = decodeName(variable.subarray(0, nameLength), flags, path);
  const method = header.readUInt16LE(8);
  const local = {
    crc32: header.readUInt32LE(14),
    compressedSize: header.readUInt32LE(18),
    size: header.readUInt32LE(22),
  };
  applyZip64(local, variable.subarray(nameLength), path);
  // With a descriptor numbers may be known only behind the bytes, and are zero here.
  const isAsSaid = (key: 'crc32' | 'size' | 'compressedSize'): boolean =>
    local[key] === entry[key] || (entry.hasDescriptor && local[key] === 0);
  const agrees =
    name === entry.name &&
    method === (entry.compression === 'stored' ? 0 : 8) &&
    ((flags & 0x8) !== 0) === entry.hasDescriptor &&
    isAsSaid('crc32') &&
    isAsSaid('size') &&
    isAsSaid('compressedSize');
  if (!agrees) throw corrupt(path, `the header of ${what} contradicts the zip directory`);
  if (begin + entry.compressedSize > entry.limit) {
    throw corrupt(path, `${what} does not fit before what follows it`, {
      expected: `at most ${entry.limit - begin} bytes`,
      found: `${entry.compressedSize} bytes`,
    });
  }
  if (entry.hasDescriptor) await checkDescriptor(source, entry, begin + entry.compressedSize);
  return begin;
}

async function findDirectory(source: Source): Promise<DirectoryPlace> {
  const { path, size } = source;
  const tailBytes = Math.min(size, endBytes + maxCommentBytes);
  const tail = await source.read(size - tailBytes, tailBytes, 'the end of the zip archive');
  const at = findEndRecord(tail);
  if (at < 0) {
    throw corrupt(
      path,
      'the zip archive has no end record: the file is truncated or was not downloaded completely',
    );
  }
  const end = tail.subarray(at);
  const endOffset = size - tailBytes + at;
  const place = { offset: end.readUInt32LE(16), size: end.readUInt32LE(12), entries: end.readUInt16LE(10) };
  const disks = { here: end.readUInt16LE(4), directory: end.readUInt16LE(6), entries: end.readUInt16LE(8) };
  const end64 = await readEnd64(source, endOffset);
  if (end64 === undefined) {
    if (disks.here !== 0 || disks.directory !== 0 || disks.entries !== place.entries)
      throw severalDisks(path);
    if (place.offset + place.size !== endOffset) throw misplaced(path);
    return place;
  }
  if (
    (place.offset !== 0xffffffff && place.offset !== end64.offset) ||
    (place.size !== 0xffffffff && place.size !== end64.size) ||
    (place.entries !== 0xffff && place.entries !== end64.entries)
  ) {
    throw corrupt(path, 'the two end records of the zip archive contradict each other');
  }
  return end64;
}

/** The last end record whose comment reaches exactly to the end of the file, or -1. */
function findEndRecord(tail: Buffer): number {
  for (let at = tail.length - endBytes; at >= 0; at--) {
    if (tail.readUInt32LE(at) === 0x06054b50 && at + endBytes + tail.readUInt16LE(at + 20) === tail.length) {
      return at;
    }
  }
  return -1;
}

/** The zip64 end record, if there is one before the end record at `endOffset`. */
async function readEnd64(source: Source, endOffset: number): Promise<DirectoryPlace | undefined> {
  const { path } = source;
  if (endOffset < locatorBytes) return undefined;
  const locator = await source.read(endOffset - locatorBytes, locatorBytes, 'the zip64 locator');
  if (locator.readUInt32LE(0) !== 0x07064b50) return undefined;
  const offset = safeNumber(locator.readBigUInt64LE(8), path);
  const record = await source.read(offset, end64Bytes, 'the zip64 end record');
  if (record.readUInt32LE(0) !== 0x06064b50) throw misplaced(path);
  const recordBytes = safeNumber(record.readBigUInt64LE(4), path) + 12;
  if (offset + recordBytes !== endOffset - locatorBytes) throw misplaced(path);
  const entries = safeNumber(record.readBigUInt64LE(32), path);
  if (
    locator.readUInt32LE(4) !== 0 ||
    locator.readUInt32LE(16) > 1 ||
    record.readUInt32LE(16) !== 0 ||
    record.readUInt32LE(20) !== 0 ||
    safeNumber(record.readBigUInt64LE(24), path) !== entries
  ) {
    throw severalDisks(path);
  }
  const place = {
    offset: safeNumber(record.readBigUInt64LE(48), path),
    size: safeNumber(record.readBigUInt64LE(40), path),
    entries,
  };
  if (place.offset + place.size !== offset) throw misplaced(path);
  return place;
}

function readCentralHeader(bytes: Buffer, at: number, path: string): { entry: ZipEntry; length: number } {
  if (at + centralBytes > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) {
    throw corrupt(path, 'the zip directory is damaged');
  }
  const flags = bytes.readUInt16LE(at + 8);
  const nameLength = bytes.readUInt16LE(at + 28);
  const extraLength = bytes.readUInt16LE(at + 30);
  const length = centralBytes + nameLength + extraLength + bytes.readUInt16LE(at + 32);
  if (at + length > bytes.length) throw corrupt(path, 'the zip directory is damaged');
  const nameEnd = at + centralBytes + nameLength;
  const name = decodeName(bytes.subarray(at + centralBytes, nameEnd), flags, path);
  const method = bytes.readUInt16LE(at + 10);
  // Bit 0: encrypted; 6: strongly encrypted; 13: directory encrypted.
  if ((flags & 0x2041) !== 0) throw unsupported(path, `the zip entry ${quoted(name)} is encrypted`);
  if (method !== 0 && method !== 8) {
    throw unsupported(path, `the zip entry ${quoted(name)} is compressed by method ${method}`, {
      expected: 'method 0 (stored) or 8 (deflated)',
      found: String(method),
    });
  }
  const sizes = {
    size: bytes.readUInt32LE(at + 24),
    compressedSize: bytes.readUInt32LE(at + 20),
    offset: bytes.readUInt32LE(at + 42),
  };
  applyZip64(sizes, bytes.subarray(nameEnd, nameEnd + extraLength), path);
  if (method === 0 && sizes.size !== sizes.compressedSize) {
    throw corrupt(path, `the stored zip entry ${quoted(name)} has two sizes`);
  }
  const entry: ZipEntry = {
    name,
    compression: method === 0 ? 'stored' : 'deflated',
    ...sizes,
    crc32: bytes.readUInt32LE(at + 16),
    hasDescriptor: (flags & 0x8) !== 0,
    limit: 0,
  };
  return { entry, length };
}

/** Replaces the fields that say 0xffffffff by those of the zip64 extra field, which has them in this order. */
function applyZip64(
  sizes: { size: number; compressedSize: number; offset?: number },
  extra: Buffer,
  path: string,
): void {
  const field = findExtraField(extra, 0x0001);
  let at = 0;
  for (const name of ['size', 'compressedSize', 'offset'] as const) {
    if (sizes[name] !== 0xffffffff) continue;
    if (field === undefined || at + 8 > field.length) throw corrupt(path, 'a zip64 size is missing');
    sizes[name] = safeNumber(field.readBigUInt64LE(at), path);
    at += 8;
  }
}

function findExtraField(extra: Buffer, id: number): Buffer | undefined {
  for (let at = 0; at + 4 <= extra.length;) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === id) return extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  return undefined;
}

/** Sets the `limit` of each entry, and refuses entries that cannot lie before it. */
function checkOverlaps(entries: ZipEntry[], directoryOffset: number, path: string): void {
  entries.sort((a, b) => a.offset - b.offset);
  for (const [index, entry] of entries.entries()) {
    entry.limit = entries[index + 1]?.offset ?? directoryOffset;
    if (entry.offset + localBytes + entry.compressedSize > entry.limit) {
      throw corrupt(path, `the zip entry ${quoted(entry.name)} overlaps what follows it`);
    }
  }
}

/** Checksum and sizes behind the bytes of an entry: with or without a signature, in 32 or 64 bits. */
async function checkDescriptor(source: Source, entry: ZipEntry, offset: number): Promise<void> {
  const bytes = await source.read(offset, Math.min(24, entry.limit - offset), 'a zip data descriptor');
  const agrees = [0, 4].some((at) => {
    if (at === 4 && (bytes.length < 4 || bytes.readUInt32LE(0) !== 0x08074b50)) return false;
    if (at + 12 > bytes.length || bytes.readUInt32LE(at) !== entry.crc32) return false;
    const short =
      bytes.readUInt32LE(at + 4) === entry.compressedSize && bytes.readUInt32LE(at + 8) === entry.size;
    const long =
      at + 20 <= bytes.length &&
      bytes.readBigUInt64LE(at + 4) === BigInt(entry.compressedSize) &&
      bytes.readBigUInt64LE(at + 12) === BigInt(entry.size);
    return short || long;
  });
  if (!agrees) {
    throw corrupt(
      source.path,
      `the data descriptor of the zip entry ${quoted(entry.name)} contradicts the directory`,
    );
  }
}

/** Names are UTF-8 where bit 11 says so, else of an unknown code page whose bytes are kept apart as Latin-1. */
function decodeName(bytes: Buffer, flags: number, path: string): string {
  if ((flags & 0x800) === 0) return bytes.toString('latin1');
  return utf8(bytes, path, 'the name of a zip entry');
}

function safeNumber(value: bigint, path: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw corrupt(path, `the zip archive has the impossible size ${value}`);
  return Number(value);
}

function misplaced(path: string): Error {
  return corrupt(path, 'the zip directory is not where its end record says: the file is damaged');
}

function severalDisks(path: string): Error {
  return unsupported(path, 'the zip archive is split into several files');
}
