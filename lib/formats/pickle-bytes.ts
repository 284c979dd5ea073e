import { TextDecoder } from 'node:util';
import { corrupt } from './failures';

/** Thrown where the bytes end before the pickle does. */
export class PickleEnd extends Error {}

const maxGlobalName = 1_000;
/** Tensors need 8 at most; torch's magic number, in front of its old files, has 10. */
const maxIntegerBytes = 16;

/** The operands of a pickle's opcodes, read one after the other. */
export class PickleBytes {
  private readonly view: DataView;
  private readonly wide = new DataView(new ArrayBuffer(maxIntegerBytes));
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(
    private readonly bytes: Uint8Array,
    /** Where the next operand begins. */
    public position: number,
    private readonly path: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  uint8(): number {
    return this.view.getUint8(this.take(1));
  }

  uint16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  uint32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  int32(): number {
    return this.view.getInt32(this.take(4), true);
  }

  uint64(): number {
    const value = this.view.getBigUint64(this.take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw this.corrupt('has a length that is too large to exist');
    return Number(value);
  }

  /** The one number that pickles write in big-endian order. */
  float64(): number {
    return this.view.getFloat64(this.take(8), false);
  }

  /** Little-endian two's complement of `length` bytes. */
  integer(length: number): number | bigint {
    if (length > maxIntegerBytes) throw this.corrupt(`holds an integer of ${length} bytes`);
    const bytes = this.slice(length);
    // As 16 bytes with the same sign. To build it byte by byte would let millions of integers take seconds.
    const sign = (bytes.at(-1) ?? 0) < 0x80 ? 0n : -1n;
    this.wide.setBigInt64(0, sign);
    this.wide.setBigInt64(8, sign);
    for (let i = 0; i < length; i++) this.wide.setUint8(i, bytes[i] ?? 0);
    const value = (this.wide.getBigInt64(8, true) << 64n) | this.wide.getBigUint64(0, true);
    const plain = Number(value);
    return Number.isSafeInteger(plain) ? plain : value;
  }

  slice(length: number): Uint8Array {
    if (length < 0) throw this.corrupt('has a negative length');
    const from = this.take(length);
    return this.bytes.subarray(from, from + length);
  }

  text(length: number): string {
    const bytes = this.slice(length);
    try {
      return this.utf8.decode(bytes);
    } catch (cause) {
      throw this.corrupt('holds text that is not UTF-8', cause);
    }
  }

  /** The text up to the next line feed. */
  line(): string {
    const length = this.bytes.subarray(this.position, this.position + maxGlobalName).indexOf(0x0a);
    if (length < 0) {
      if (this.bytes.length - this.position < maxGlobalName) throw new PickleEnd();
      throw this.corrupt(`names a global with more than ${maxGlobalName} bytes`);
    }
    const text = this.text(length);
    this.take(1);
    return text;
  }

  private corrupt(problem: string, cause?: unknown): Error {
    return corrupt(this.path, `the pickle ${problem}`, cause === undefined ? {} : { cause });
  }

  /** Moves on by `length` bytes and returns where they began. */
  private take(length: number): number {
    const from = this.position;
    if (length > this.bytes.length - from) throw new PickleEnd();
    this.position = from + length;
    return from;
  }
}
