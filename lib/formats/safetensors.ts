import { withoutPrototype } from '../options';
import { corrupt, unsupported } from './failures';
import { checkCoverage, contiguousStrides, countElements, type Placed, shapeText } from './layout';
import { maxHeaderBytes, maxTensors } from './limits';
import { readPacking, type Form, type Packing } from './packed';
import type { FormatReader } from './reader';
import type { Source } from './source';
import { type JsonObject, type JsonValue, parseJson } from './strict-json';
import { storedTypeBytes, type StoredType, type TensorDirectory, type TensorEntry } from './tensor-directory';
import { quoted, shortened } from '../quoted';
import { messageOf } from '../thrown';

const storedTypes: ReadonlyMap<JsonValue, StoredType> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
]);

/** More than is accepted, so that a header that is too long is still called by its name. */
const recognizedHeaderBytes = 1n << 32n;

/**
 * https://github.com/huggingface/safetensors: the length of the header (uint64), the header (JSON: name ->
 * dtype, shape, data_offsets), then the elements, which fill the rest of the file without gaps or overlaps.
 */
export const safetensorsReader: FormatReader = {
  matches: (head) =>
    head.length >= 9 && head[8] === 0x7b /* { */ && head.readBigUInt64LE(0) < recognizedHeaderBytes,
  read: readSafetensors,
};

async function readSafetensors(source: Source): Promise<TensorDirectory> {
  const { path } = source;
  const length = Number((await source.read(0, 8, 'the header length')).readBigUInt64LE(0));
  if (length > maxHeaderBytes) {
    throw corrupt(path, `the header claims to have ${length} bytes`, {
      expected: `at most ${maxHeaderBytes}`,
    });
  }
  const header = parseHeader(await source.read(8, length, 'the header'), path);
  const start = 8 + length;
  const metadata = readMetadata(header.get('__metadata__'), path);
  const packing = readPacking(metadata, path);
  const entries: Placed<TensorEntry>[] = [];
  for (const [name, info] of header) {
    if (name === '__metadata__') continue;
    const form = packing?.matrices.get(name);
    entries.push(form ? readBlock(name, info, form, start, path) : readEntry(name, info, start, path));
  }
  requireBlocks(packing, header, path);
  if (entries.length === 0) throw corrupt(path, 'holds no tensors');
  if (entries.length > maxTensors) throw corrupt(path, `holds more than ${maxTensors} tensors`);
  checkCoverage(entries, start, source);
  const directory: TensorDirectory = {
    format: 'safetensors',
    files: [source.file],
    tensors: entries.map(({ tensor }) => tensor),
    metadata,
    close: () => Promise.resolve(),
  };
  if (packing === undefined) return directory;
  const { weights, fingerprint } = packing;
  return { ...directory, format: 'packed safetensors', packed: { weights, fingerprint } };
}

function requireBlocks(packing: Packing | undefined, header: JsonObject, path: string): void {
  for (const name of packing?.matrices.keys() ?? []) {
    if (!header.has(name)) {
      throw corrupt(path, `the packed matrix ${quoted(name)} is missing`, { tensor: name });
    }
  }
}

function parseHeader(bytes: Buffer, path: string): JsonObject {
  let header: JsonValue;
  try {
    header = parseJson(bytes);
  } catch (cause) {
    throw corrupt(path, `the header is damaged: ${messageOf(cause)}`, { cause });
  }
  if (!(header instanceof Map)) throw corrupt(path, 'the header is not a JSON object');
  return header;
}

function readMetadata(value: JsonValue | undefined, path: string): Record<string, string> {
  const metadata = withoutPrototype<Record<string, string>>({});
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) throw corrupt(path, '__metadata__ is not a JSON object');
  for (const [key, text] of value) {
    if (typeof text !== 'string') throw corrupt(path, `__metadata__ holds ${quoted(key)}, which is not text`);
    metadata[key] = text;
  }
  return metadata;
}

interface Described {
  dtype: string;
  shape: JsonValue[];
  offsets: JsonValue[];
}

function describe(name: string, info: JsonValue, path: string): Described {
  const dtype = info instanceof Map ? info.get('dtype') : undefined;
  const shape = info instanceof Map ? info.get('shape') : undefined;
  const offsets = info instanceof Map ? info.get('data_offsets') : undefined;
  if (typeof dtype !== 'string' || !Array.isArray(shape) || !Array.isArray(offsets)) {
    throw corrupt(path, `the header describes the tensor ${quoted(name)} incompletely`, {
      tensor: name,
      expected: 'dtype, shape and data_offsets',
    });
  }
  return { dtype, shape, offsets };
}

function readEntry(name: string, info: JsonValue, start: number, path: string): Placed<TensorEntry> {
  const { dtype, shape, offsets } = describe(name, info, path);
  const type = storedTypes.get(dtype);
  if (type === undefined) {
    throw unsupported(path, `the tensor ${quoted(name)} is of type ${quoted(dtype)}`, {
      tensor: name,
      expected: 'F32, F16 or BF16',
      found: shortened(dtype),
    });
  }
  const bytes = countElements(path, name, shape) * storedTypeBytes[type];
  const dimensions = shape.filter((size) => typeof size === 'number');
  const begin = readBegin(name, shape, offsets, bytes, path);
  const strides = contiguousStrides(dimensions);
  return {
    tensor: { name, type, shape: dimensions, strides, file: 0, offset: start + begin },
    end: start + begin + bytes,
  };
}

/** A packed matrix: its block is stored as so many bytes. */
function readBlock(
  name: string,
  info: JsonValue,
  { rows, columns, group, weights }: Form,
  start: number,
  path: string,
): Placed<TensorEntry> {
  const { dtype, shape, offsets } = describe(name, info, path);
  if (dtype !== 'U8' || shape.length !== 1) {
    const found = `${shortened(dtype)} ${shapeText(shape)}`;
    throw corrupt(path, `the packed matrix ${quoted(name)} is no block of bytes`, {
      ...{ tensor: name, expected: 'U8 [bytes]', found },
    });
  }
  const bytes = countElements(path, name, shape);
  const offset = start + readBegin(name, shape, offsets, bytes, path);
  return {
    tensor: { name, type: 'packed', shape: [rows, columns], file: 0, offset, bytes, group, weights },
    end: offset + bytes,
  };
}

/** Where the tensor begins, if its offsets are those of so many bytes. */
function readBegin(
  name: string,
  shape: JsonValue[],
  offsets: JsonValue[],
  bytes: number,
  path: string,
): number {
  const [begin, end] = offsets;
  if (
    offsets.length !== 2 ||
    typeof begin !== 'number' ||
    typeof end !== 'number' ||
    !Number.isSafeInteger(begin) ||
    begin < 0 ||
    end - begin !== bytes
  ) {
    throw corrupt(path, `the tensor ${quoted(name)} of shape ${shapeText(shape)} has wrong offsets`, {
      tensor: name,
      expected: `${bytes} bytes`,
      found: shapeText(offsets),
    });
  }
  return begin;
}
