import { corrupt } from './failures';

/** Thrown where the bytes end before the pickle does. */
export class PickleEnd extends Error {}

const maxGlobalName = 1_000;
const maxIntegerBytes = 255;

/** The operands of a pickle's opcodes, read one after the other. */
export class PickleBytes {
  private readonly view: DataView;
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
    let value = 0n;
    for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
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
