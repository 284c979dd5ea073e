import { corrupt, unsupported, utf8 } from './failures';
import { maxHeaderBytes, maxTensors } from './limits';
import { quoted } from '../quoted';

/** Types of metadata by their numbers. */
const valueTypes = [
  ...(['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32'] as const),
  ...(['bool', 'string', 'array', 'uint64', 'int64', 'float64'] as const),
] as const;
type ValueType = (typeof valueTypes)[number];

/** Bytes of a value; those of strings and arrays are counted in themselves. */
const valueBytes: Readonly<Record<ValueType, number>> = {
  ...{ uint8: 1, int8: 1, uint16: 2, int16: 2, uint32: 4, int32: 4, float32: 4 },
  ...{ bool: 1, string: 8, array: 12, uint64: 8, int64: 8, float64: 8 },
};

const maxEntries = 10_000;
const maxDepth = 4;
/** ggml has no more. */
const maxDimensions = 4;

/** An array of metadata: where its elements lie in the header. */
export class GgufArray {
  constructor(
    readonly elements: ValueType,
    readonly count: number,
    readonly offset: number,
    /** Behind its last byte. */
    readonly end: number,
  ) {}
}

/** A value of metadata; integers that no number holds are bigints. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

/** A tensor as the header has it. */
export interface GgufTensor {
  name: string;
  /** Outermost first, unlike in the file. */
  shape: number[];
  type: number;
  /** Counted from where the data begin. */
  offset: number;
}

export interface GgufHeader {
  metadata: ReadonlyMap<string, GgufValue>;
  tensors: readonly GgufTensor[];
  /** Behind its last byte. */
  end: number;
}

/** The header goes on behind the bytes that were given: this many are needed at least. */
export class MoreBytes extends Error {
  constructor(readonly needed: number) {
    super('more bytes of the header are needed');
  }
}

/**
 * Reads the header of a GGUF file (ggml's docs/gguf.md), versions 2 and 3 in little-endian.
 *
 * @param bytes the file's first ones
 * @param size of the file
 * @throws MoreBytes where the header is longer than `bytes`
 * @throws WkvError `ERR_WKV_FORMAT`, `ERR_WKV_UNSUPPORTED` for other versions
 */
export function readGgufHeader(bytes: Buffer, size: number, path: string): GgufHeader {
  return new Parser(new Cursor(bytes, size, path), path).parse();
}

/** A place in the header, of which maybe not all bytes are there. */
export class Cursor {
  constructor(
    private readonly bytes: Buffer,
    private readonly size: number,
    private readonly path: string,
    public position = 0,
  ) {}

  /** Passes over the next `length` bytes, and returns where they begin. */
  skip(length: number, what: string): number {
    const begin = this.position;
    const end = begin + length;
    if (end > this.size) {
      throw corrupt(this.path, `the file ends inside ${what}`, {
        expected: `at least ${end} bytes`,
        found: `${this.size} bytes`,
      });
    }
    if (end > maxHeaderBytes) {
      throw corrupt(this.path, 'the header is too long', { expected: `at most ${maxHeaderBytes} bytes` });
    }
    if (end > this.bytes.length) throw new MoreBytes(end);
    this.position = end;
    return begin;
  }

  /** The next `length` bytes. */
  take(length: number, what: string): Buffer {
    const begin = this.skip(length, what);
    return this.bytes.subarray(begin, begin + length);
  }

  uint32(what: string): number {
    return this.bytes.readUInt32LE(this.skip(4, what));
  }

  /** An unsigned number of 64 bits that counts something. */
  count(what: string): number {
    const begin = this.skip(8, what);
    // Not as a bigint, nor as bytes of their own: there may be millions of them.
    const value = this.bytes.readUInt32LE(begin) + this.bytes.readUInt32LE(begin + 4) * 2 ** 32;
    if (Number.isSafeInteger(value)) return value;
    throw corrupt(this.path, `${what} is impossible: ${this.bytes.readBigUInt64LE(begin)}`);
  }

  /** The bytes of a string, behind their number. */
  text(what: string): Buffer {
    return this.take(this.count(`the length of ${what}`), what);
  }
}

class Parser {
  constructor(
    private readonly cursor: Cursor,
    private readonly path: string,
  ) {}

  parse(): GgufHeader {
    const { cursor } = this;
    cursor.take(4, 'the header'); // GGUF
    this.checkVersion(cursor.uint32('the version'));
    const tensorCount = cursor.count('the number of tensors');
    const entryCount = cursor.count('the number of metadata entries');
    if (tensorCount > maxTensors) throw corrupt(this.path, `holds more than ${maxTensors} tensors`);
    if (entryCount > maxEntries) throw corrupt(this.path, `holds more than ${maxEntries} metadata entries`);
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < entryCount; i++) {
      const key = this.name('a key of the metadata');
      if (metadata.has(key)) throw corrupt(this.path, `the metadata has ${quoted(key)} twice`);
      const what = `the metadata ${quoted(key)}`;
      metadata.set(key, this.value(this.type(what), what));
    }
    const tensors = Array.from({ length: tensorCount }, () => this.tensor());
    return { metadata, tensors, end: cursor.position };
  }

  private checkVersion(version: number): void {
    if (version === 2 || version === 3) return;
    const isBigEndian = version === 0x02000000 || version === 0x03000000;
    const found = isBigEndian ? 'a big-endian file' : `version ${version}`;
    throw unsupported(this.path, `is a GGUF file that is not read: ${found}`, {
      expected: 'version 2 or 3, little-endian',
      found,
    });
  }

  private name(what: string): string {
    return utf8(this.cursor.text(what), this.path, what);
  }

  private type(what: string): ValueType {
    const code = this.cursor.uint32(`the type of ${what}`);
    const type = valueTypes[code];
    if (type === undefined) throw corrupt(this.path, `${what} is of the type ${code}`);
    return type;
  }

  private value(type: ValueType, what: string): GgufValue {
    if (type === 'string') return this.cursor.text(what).toString('utf8');
    if (type === 'array') return this.array(what, 1);
    const bytes = this.cursor.take(valueBytes[type], what);
    switch (type) {
      case 'bool': {
        const value = bytes.readUInt8(0);
        if (value > 1) throw corrupt(this.path, `${what} is neither true nor false`);
        return value === 1;
      }
      case 'float32':
        return bytes.readFloatLE(0);
      case 'float64':
        return bytes.readDoubleLE(0);
      case 'uint64':
        return narrowed(bytes.readBigUInt64LE(0));
      case 'int64':
        return narrowed(bytes.readBigInt64LE(0));
      case 'int8':
      case 'int16':
      case 'int32':
        return bytes.readIntLE(0, bytes.length);
      default:
        return bytes.readUIntLE(0, bytes.length);
    }
  }

  /** Passes over an array: nothing is made of its elements here, however many it claims to have. */
  private array(what: string, depth: number): GgufArray {
    const { cursor } = this;
    if (depth > maxDepth) throw corrupt(this.path, `${what} is nested deeper than ${maxDepth}`);
    const elements = this.type(what);
    const count = cursor.count(`the number of elements of ${what}`);
    const begin = cursor.position;
    if (elements === 'string') {
      const length = `the length of ${what}`;
      for (let i = 0; i < count; i++) cursor.skip(cursor.count(length), what);
    } else if (elements === 'array') {
      for (let i = 0; i < count; i++) this.array(what, depth + 1);
    } else {
      cursor.skip(count * valueBytes[elements], what);
    }
    return new GgufArray(elements, count, begin, cursor.position);
  }

  private tensor(): GgufTensor {
    const { cursor } = this;
    const name = this.name('the name of a tensor');
    const what = `the description of the tensor ${quoted(name)}`;
    const dimensions = cursor.uint32(what);
    if (dimensions > maxDimensions) {
      throw corrupt(this.path, `the tensor ${quoted(name)} has ${dimensions} dimensions`, {
        tensor: name,
        expected: `at most ${maxDimensions}`,
      });
    }
    const shape = Array.from({ length: dimensions }, () => cursor.count(what)).reverse();
    return { name, shape, type: cursor.uint32(what), offset: cursor.count(what) };
  }
}

function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
