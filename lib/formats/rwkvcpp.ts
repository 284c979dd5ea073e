import { withoutPrototype } from '../options';
import { corrupt, unsupported, utf8 } from './failures';
import { readRwkvCppTypes, rwkvCppType } from './ggml-types';
import { contiguousStrides, countElements, shapeText } from './layout';
import { maxTensors } from './limits';
import type { FormatReader } from './reader';
import { modelOf, rwkvCppViews } from './rwkvcpp-views';
import type { Source } from './source';
import {
  bytesOfNumbers,
  formOf,
  isBlockType,
  type StoredTensor,
  type TensorDirectory,
} from './tensor-directory';
import { quoted } from '../quoted';

const magic = 0x67676d66;
const headerBytes = 24;
const maxDimensions = 3;
/** More than the names of all tensors of RWKV. */
const maxNameBytes = 1024;
/** Tensors are described between their elements, so that many small ones lie close together. */
const windowBytes = 1 << 16;

/**
 * rwkv.cpp's docs/FILE_FORMAT.md: a header of six integers, then, to the end of the file, of each tensor its description,
 * its name and its elements.
 */
export const rwkvCppReader: FormatReader = {
  matches: (head) => head.length >= 4 && head.readUInt32LE(0) === magic,
  read: readRwkvCpp,
};

interface Header {
  version: number;
  vocabulary: number;
  embedding: number;
  layers: number;
}

async function readRwkvCpp(source: Source): Promise<TensorDirectory> {
  const { path } = source;
  const header = readHeader(await source.read(0, headerBytes, 'the header'), path);
  const stored = await readTensors(source, header);
  requireDifferentNames(stored, path);
  const model = modelOf(stored);
  const tensors = stored.flatMap((tensor) => rwkvCppViews(tensor, model, path));
  requireDifferentNames(tensors, path);
  checkDimensions(header, tensors, path);
  return {
    format: 'rwkv.cpp',
    files: [source.file],
    tensors,
    metadata: withoutPrototype({ version: String(header.version) }),
    close: () => Promise.resolve(),
  };
}

function readHeader(bytes: Buffer, path: string): Header {
  const version = bytes.readUInt32LE(4);
  if (version !== 100 && version !== 101) {
    throw unsupported(path, `is a ggml file of version ${version}`, {
      expected: 'version 100 or 101, of rwkv.cpp',
      found: `version ${version}`,
    });
  }
  requireType(bytes.readUInt32LE(20), version, 'the model', undefined, path);
  return {
    version,
    vocabulary: bytes.readUInt32LE(8),
    embedding: bytes.readUInt32LE(12),
    layers: bytes.readUInt32LE(16),
  };
}

/** The type with this number, if it is one that is read. */
function requireType(
  code: number,
  version: number,
  what: string,
  tensor: string | undefined,
  path: string,
): StoredTensor['type'] {
  const { name, read: type } = rwkvCppType(code);
  const about = tensor === undefined ? {} : { tensor };
  if (type === undefined) {
    const details = { ...about, expected: readRwkvCppTypes, found: name };
    throw unsupported(path, `${what} is of type ${name}`, details);
  }
  if (version === 100 && isBlockType(type)) {
    throw unsupported(path, `${what} is of type ${name} as files of version 100 have it`, {
      ...about,
      expected: 'F32 or F16, or a file of version 101',
      found: `${name} of version 100`,
    });
  }
  return type;
}

async function readTensors(source: Source, { version }: Header): Promise<StoredTensor[]> {
  const { path, size } = source;
  const window = new Window(source);
  const tensors: StoredTensor[] = [];
  for (let position = headerBytes; position < size;) {
    const { tensor, end } = await readTensor(window, position, version, path);
    const { name } = tensor;
    if (end > size) {
      throw corrupt(path, `the file ends inside the tensor ${quoted(name)}`, {
        tensor: name,
        expected: `at least ${end} bytes`,
        found: `${size} bytes`,
      });
    }
    tensors.push(tensor);
    if (tensors.length > maxTensors) throw corrupt(path, `holds more than ${maxTensors} tensors`);
    position = end;
  }
  if (tensors.length === 0) throw corrupt(path, 'holds no tensors');
  return tensors;
}

/** What a file has as one tensor may be several here, whose names another one has. */
function requireDifferentNames(tensors: readonly StoredTensor[], path: string): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw corrupt(path, `holds the tensor ${quoted(name)} twice`, { tensor: name });
    names.add(name);
  }
}

async function readTensor(
  window: Window,
  begin: number,
  version: number,
  path: string,
): Promise<{ tensor: StoredTensor; end: number }> {
  const what = 'the description of a tensor';
  const fixed = await window.read(begin, 12, what);
  const dimensions = fixed.readUInt32LE(0);
  const nameBytes = fixed.readUInt32LE(4);
  const code = fixed.readUInt32LE(8);
  if (dimensions < 1 || dimensions > maxDimensions || nameBytes < 1 || nameBytes > maxNameBytes) {
    throw corrupt(path, `the description of a tensor at byte ${begin} is damaged`, {
      expected: `1 to ${maxDimensions} dimensions and a name of 1 to ${maxNameBytes} bytes`,
      found: `${dimensions} dimensions and a name of ${nameBytes} bytes`,
    });
  }
  const rest = await window.read(begin + 12, 4 * dimensions + nameBytes, what);
  const name = utf8(rest.subarray(4 * dimensions), path, 'the name of a tensor');
  // The innermost dimension comes first.
  const shape = Array.from({ length: dimensions }, (_, i) => rest.readUInt32LE(4 * i)).reverse();
  const type = requireType(code, version, `the tensor ${quoted(name)}`, name, path);
  const elements = countElements(path, name, shape);
  const { numbers } = formOf(type);
  if ((shape.at(-1) ?? 1) % numbers !== 0) {
    throw corrupt(path, `the tensor ${quoted(name)} has rows that are not whole blocks`, {
      tensor: name,
      expected: `rows of a multiple of ${numbers} numbers`,
      found: shapeText(shape),
    });
  }
  const offset = begin + 12 + rest.length;
  return {
    tensor: { name, type, shape, strides: contiguousStrides(shape), file: 0, offset },
    end: offset + bytesOfNumbers(type, elements),
  };
}

/** The header has to say what the tensors do. */
function checkDimensions(
  { vocabulary, embedding, layers }: Header,
  tensors: readonly StoredTensor[],
  path: string,
): void {
  const found = tensors.find(({ name }) => name === 'emb.weight');
  const shape = found?.shape ?? [];
  const count = new Set(tensors.flatMap(({ name }) => /^blocks\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  if (shape.length === 2 && shape[0] === vocabulary && shape[1] === embedding && count === layers) return;
  throw corrupt(path, 'the header contradicts the tensors', {
    expected: `emb.weight [${vocabulary}, ${embedding}] and ${layers} layers`,
    found: `${shapeText(shape)} and ${count} layers`,
  });
}

/** Reads of a file in ascending order that share what was read around them. */
class Window {
  private begin = 0;
  private bytes: Buffer = Buffer.alloc(0);

  constructor(private readonly source: Source) {}

  async read(offset: number, length: number, what: string): Promise<Buffer> {
    const { size } = this.source;
    if (offset < this.begin || offset + length > this.begin + this.bytes.length) {
      const available = Math.min(Math.max(length, windowBytes), Math.max(length, size - offset));
      this.bytes = await this.source.read(offset, available, what);
      this.begin = offset;
    }
    return this.bytes.subarray(offset - this.begin, offset - this.begin + length);
  }
}
