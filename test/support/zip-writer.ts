import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipFile {
  name: string;
  data: Uint8Array;
  /** By default `stored`. */
  compression?: 'stored' | 'deflated';
}

export interface ZipOptions {
  /** Write every size and offset as zip64, as large files need it. */
  zip64?: boolean;
  /** Write sizes and checksum behind the bytes, as torch does. */
  descriptors?: boolean;
  /** Pad local headers, as torch does, until the bytes begin at a multiple of this. */
  alignment?: number;
  /** Write 0 for each checksum, as torch can be told to. */
  noChecksums?: boolean;
  /** Write the sizes in front of the bytes, too, where descriptors have them, as Info-ZIP does. */
  sizesInFront?: boolean;
  comment?: string;
}

interface Written {
  file: ZipFile;
  method: number;
  bytes: Uint8Array;
  crc: number;
  offset: number;
}

/** A zip archive as bytes. */
export function zipArchive(files: readonly ZipFile[], options: ZipOptions = {}): Buffer {
  const parts: Buffer[] = [];
  let position = 0;
  const add = (...buffers: readonly Uint8Array[]): void => {
    for (const buffer of buffers) {
      parts.push(Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength));
      position += buffer.byteLength;
    }
  };
  const written = files.map((file): Written => {
    const deflated = file.compression === 'deflated';
    const entry = {
      file,
      method: deflated ? 8 : 0,
      bytes: deflated ? deflateRawSync(file.data) : file.data,
      crc: options.noChecksums ? 0 : crc32(file.data),
      offset: position,
    };
    add(localHeader(entry, options), entry.bytes);
    if (options.descriptors) add(descriptor(entry, options));
    return entry;
  });
  const start = position;
  for (const entry of written) add(centralHeader(entry, options));
  const size = position - start;
  if (options.zip64) add(end64(written.length, start, size));
  add(endRecord(written.length, start, size, options));
  return Buffer.concat(parts);
}

/** Sizes, and the offset where there is one, as they appear in a header and in its zip64 field. */
function sizeFields(
  values: readonly number[],
  zip64: boolean | undefined,
): { fields: number[]; extra: Buffer } {
  if (!zip64) return { fields: [...values], extra: Buffer.alloc(0) };
  return {
    fields: values.map(() => 0xffffffff),
    extra: Buffer.concat([uint16(0x0001, 8 * values.length), ...values.map((value) => uint64(value))]),
  };
}

function localHeader(
  entry: Written,
  { zip64, descriptors, alignment = 1, sizesInFront }: ZipOptions,
): Buffer {
  const name = Buffer.from(entry.file.name);
  const known = descriptors && !sizesInFront ? [0, 0] : [entry.file.data.length, entry.bytes.length];
  const { fields, extra } = sizeFields(known, zip64 && !descriptors);
  const [size = 0, compressedSize = 0] = fields;
  const unpadded = entry.offset + 30 + name.length + extra.length;
  const missing = (alignment - ((unpadded + 4) % alignment)) % alignment;
  const padding =
    alignment > 1 ? Buffer.concat([uint16(0x4246, missing), Buffer.alloc(missing, 'Z')]) : Buffer.alloc(0);
  return Buffer.concat([
    uint32(0x04034b50),
    uint16(zip64 ? 45 : 20, descriptors ? 0x808 : 0x800, entry.method, 0, 0),
    uint32(descriptors ? 0 : entry.crc, compressedSize, size),
    uint16(name.length, extra.length + padding.length),
    name,
    extra,
    padding,
  ]);
}

function descriptor(entry: Written, { zip64 }: ZipOptions): Buffer {
  const sizes = [entry.bytes.length, entry.file.data.length];
  return Buffer.concat([
    uint32(0x08074b50, entry.crc),
    ...sizes.map((value) => (zip64 ? uint64(value) : uint32(value))),
  ]);
}

function centralHeader(entry: Written, { zip64, descriptors }: ZipOptions): Buffer {
  const name = Buffer.from(entry.file.name);
  const { fields, extra } = sizeFields([entry.file.data.length, entry.bytes.length, entry.offset], zip64);
  const [size = 0, compressedSize = 0, offset = 0] = fields;
  return Buffer.concat([
    uint32(0x02014b50),
    uint16(zip64 ? 45 : 20, zip64 ? 45 : 20, descriptors ? 0x808 : 0x800, entry.method, 0, 0),
    uint32(entry.crc, compressedSize, size),
    uint16(name.length, extra.length, 0, 0, 0),
    uint32(0, offset),
    name,
    extra,
  ]);
}

function end64(entries: number, start: number, size: number): Buffer {
  return Buffer.concat([
    uint32(0x06064b50),
    uint64(44),
    uint16(45, 45),
    uint32(0, 0),
    uint64(entries),
    uint64(entries),
    uint64(size),
    uint64(start),
    uint32(0x07064b50, 0),
    uint64(start + size),
    uint32(1),
  ]);
}

function endRecord(
  entries: number,
  start: number,
  size: number,
  { zip64, comment = '' }: ZipOptions,
): Buffer {
  const text = Buffer.from(comment);
  return Buffer.concat([
    uint32(0x06054b50),
    uint16(0, 0, ...(zip64 ? [0xffff, 0xffff] : [entries, entries])),
    uint32(...(zip64 ? [0xffffffff, 0xffffffff] : [size, start])),
    uint16(text.length),
    text,
  ]);
}

export function uint16(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) buffer.writeUInt16LE(value, 2 * index);
  return buffer;
}

export function uint32(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeUInt32LE(value, 4 * index);
  return buffer;
}

export function uint64(value: number | bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}
