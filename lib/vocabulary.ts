import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { WkvError } from './errors';
import { quoted } from './quoted';
import { messageOf } from './thrown';

/** A parsed vocabulary: the bytes of every token. */
export interface ParsedVocabulary {
  /** All tokens one after the other, in the order of their ids. */
  bytes: Uint8Array;
  /** [size + 1] token i is bytes[offsets[i]] up to bytes[offsets[i + 1]]; empty where an id has no bytes. */
  offsets: Uint32Array;
  /** The highest id of the file plus one. */
  size: number;
}

/** Larger files are refused before they are read (that of World has 1.1 MB). */
const maxFileBytes = 16 * 1024 * 1024;
const maxId = 1_000_000;
/** Of a token (World's longest has 128): where none fits, so many bytes are looked at for each that does. */
const maxTokenBytes = 256;

const newline = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const doubleQuote = 0x22;
const singleQuote = 0x27;
const digit0 = 0x30;
const digit9 = 0x39;
const backslash = 0x5c;
const letterB = 0x62;
/** The escapes of one letter, by that letter, and the byte that each stands for. */
const simpleEscapes = new Map([
  [backslash, backslash],
  [singleQuote, singleQuote],
  [doubleQuote, doubleQuote],
  [0x6e /* n */, newline],
  [0x72 /* r */, carriageReturn],
  [0x74 /* t */, 0x09],
]);
/** The escapes of a code point, by their letter, and how many hexadecimal digits each has. */
const codePointEscapes = new Map([
  [0x78 /* x */, 2],
  [0x75 /* u */, 4],
  [0x55 /* U */, 8],
]);

/**
 * Reads a vocabulary file whole.
 *
 * @throws {WkvError} `ERR_WKV_FORMAT` where it is no regular file or has more than 16 MiB; the file system's own
 * error where it cannot be read.
 */
export function readVocabularyFile(path: string): Uint8Array {
  // Not blocking: the path may name a pipe that nobody writes to. (Windows lacks the constant; undefined is 0 here.)
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > maxFileBytes) {
      const found = stat.isFile() ? `${stat.size} bytes` : 'something that is no regular file';
      const expected = `a vocabulary file of at most ${maxFileBytes} bytes`;
      throw new WkvError('ERR_WKV_FORMAT', `${path}: expected ${expected}, found ${found}`, {
        path,
        expected,
        found,
      });
    }
    const text = new Uint8Array(stat.size);
    let length = 0;
    while (length < text.length) {
      const read = readSync(file, text, length, text.length - length, null);
      if (read === 0) break;
      length += read;
    }
    return text.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

/**
 * Reads a vocabulary file that is compressed with Brotli, as the package has its own.
 *
 * @throws as {@link readVocabularyFile}, and `ERR_WKV_FORMAT` too where it is not that, or more than 16 MiB of text
 */
export function readCompressedVocabularyFile(path: string): Uint8Array {
  const compressed = readVocabularyFile(path);
  try {
    return brotliDecompressSync(compressed, { maxOutputLength: maxFileBytes });
  } catch (cause) {
    const expected = `at most ${maxFileBytes} bytes of text, compressed with Brotli`;
    const found = `something else (${messageOf(cause)})`;
    throw new WkvError('ERR_WKV_FORMAT', `${path}: expected ${expected}, found ${found}`, {
      path,
      expected,
      found,
      cause,
    });
  }
}

/**
 * Parses the text of a vocabulary file as the RWKV World models have it: a line per token,
 * `ID LITERAL LENGTH`, where LITERAL is a Python `str` or `bytes` literal (it may contain spaces) and LENGTH the
 * number of bytes it stands for, at most 256. Lines end with LF or CRLF; ids are unique, from 1 to 1,000,000, in any
 * order. A byte order mark and empty lines at the end, as editors leave them, mean nothing.
 *
 * @param path of the file, for messages
 * @throws {WkvError} `ERR_WKV_FORMAT`, naming file and line
 */
export function parseVocabulary(text: Uint8Array, path: string): ParsedVocabulary {
  const { buffer, byteOffset, byteLength } = withoutEnds(text);
  return new Parser(Buffer.from(buffer, byteOffset, byteLength), path).parse();
}

/** A vocabulary's text without a byte order mark, and without empty lines at the end. */
export function withoutEnds(text: Uint8Array): Uint8Array {
  const hasMark = text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf;
  let end = text.length;
  while (end > 0 && (text[end - 1] === newline || text[end - 1] === carriageReturn)) end -= 1;
  return text.subarray(hasMark ? 3 : 0, end);
}

class Parser {
  private line = 0;
  /** The tokens' bytes in the order of the file: never more than its text. */
  private readonly data: Buffer;
  private dataLength = 0;
  private readonly ids: number[] = [];
  /** [ids] where the bytes of a token end in `data`. */
  private readonly ends: number[] = [];

  constructor(
    private readonly text: Buffer,
    private readonly path: string,
  ) {
    this.data = Buffer.alloc(text.length);
  }

  parse(): ParsedVocabulary {
    const { text } = this;
    if (!isUtf8(text)) this.fail('a text in UTF-8', 'bytes that are not');
    for (let start = 0; start < text.length;) {
      this.line += 1;
      const found = text.indexOf(newline, start);
      let end = found < 0 ? text.length : found;
      const next = end + 1;
      if (end > start && text[end - 1] === carriageReturn) end -= 1;
      this.parseLine(start, end);
      start = next;
    }
    if (this.ids.length === 0) this.fail('a token', 'an empty file');
    return this.inOrderOfIds();
  }

  private parseLine(start: number, end: number): void {
    const first = this.text.indexOf(space, start);
    const last = this.text.lastIndexOf(space, end - 1);
    if (first < 0 || first >= last || last < start) {
      this.fail('ID LITERAL LENGTH', end === start ? 'an empty line' : 'fewer than two spaces');
    }
    const id = this.parseNumber(start, first);
    if (!(id >= 1 && id <= maxId)) this.fail(`an id from 1 to ${maxId}`, this.excerpt(start, first));
    const length = this.parseNumber(last + 1, end);
    if (!(length >= 1 && length <= maxTokenBytes)) {
      this.fail(`a length from 1 to ${maxTokenBytes}`, this.excerpt(last + 1, end));
    }
    const before = this.dataLength;
    this.parseLiteral(first + 1, last);
    const found = this.dataLength - before;
    if (found !== length) this.fail(`a literal of ${length} bytes, as its line says`, `one of ${found}`);
    this.ids.push(id);
    this.ends.push(this.dataLength);
  }

  /** A decimal number of at most seven digits without leading zeros, or NaN. */
  private parseNumber(start: number, end: number): number {
    if (end - start < 1 || end - start > 7 || this.text[start] === digit0) return NaN;
    let value = 0;
    for (let i = start; i < end; i++) {
      const digit = this.byte(i);
      if (digit < digit0 || digit > digit9) return NaN;
      value = value * 10 + (digit - digit0);
    }
    return value;
  }

  private parseLiteral(start: number, end: number): void {
    const isBytes = this.byte(start) === letterB;
    const open = isBytes ? start + 1 : start;
    const quote = this.byte(open);
    const close = end - 1;
    if (close <= open || (quote !== singleQuote && quote !== doubleQuote) || this.byte(close) !== quote) {
      this.fail('a Python literal in quotes', this.excerpt(start, end));
    }
    for (let i = open + 1; i < close;) {
      const byte = this.byte(i);
      if (byte === backslash) {
        i = this.parseEscape(i + 1, close, isBytes);
      } else if (byte === quote || byte < space || (isBytes && byte >= 0x80)) {
        this.fail('an escape', `a bare ${hexadecimal(byte)} in the literal ${this.excerpt(start, end)}`);
      } else {
        this.data[this.dataLength++] = byte;
        i += 1;
      }
    }
  }

  /** Parses the escape whose letter is at `start` and returns where it ends. */
  private parseEscape(start: number, close: number, isBytes: boolean): number {
    const letter = start < close ? this.byte(start) : -1;
    const simple = simpleEscapes.get(letter);
    if (simple !== undefined) {
      this.data[this.dataLength++] = simple;
      return start + 1;
    }
    const digits = codePointEscapes.get(letter);
    const end = start + 1 + (digits ?? 0);
    if (digits === undefined || (isBytes && digits !== 2) || end > close) {
      const expected = isBytes
        ? '\\xHH or one of \\n \\r \\t \\\\ \\\' \\"'
        : '\\xHH, \\uHHHH, \\UHHHHHHHH or one of \\n \\r \\t \\\\ \\\' \\"';
      this.fail(expected, this.excerpt(start - 1, Math.min(Math.max(end, start + 1), close)));
    }
    const hexadecimal = this.text.toString('latin1', start + 1, end);
    const value = /^[0-9a-fA-F]+$/.test(hexadecimal) ? Number.parseInt(hexadecimal, 16) : NaN;
    if (!(value <= 0x10ffff) || (value >= 0xd800 && value <= 0xdfff)) {
      this.fail('the hexadecimal digits of a character', this.excerpt(start - 1, end));
    }
    if (isBytes) this.data[this.dataLength++] = value;
    else this.dataLength += this.data.write(String.fromCodePoint(value), this.dataLength);
    return end;
  }

  private inOrderOfIds(): ParsedVocabulary {
    const { ids, ends, data } = this;
    const size = ids.reduce((highest, id) => Math.max(highest, id), 0) + 1;
    /** [size] the token of an id by its place in the file, counted from 1; 0 where there is none. */
    const places = new Uint32Array(size);
    ids.forEach((id, index) => {
      if (places[id] !== 0) {
        this.line = index + 1;
        this.fail('every id once', `id ${id} of line ${places[id]} again`);
      }
      places[id] = index + 1;
    });
    const bytes = new Uint8Array(this.dataLength);
    const offsets = new Uint32Array(size + 1);
    let length = 0;
    places.forEach((place, id) => {
      if (place > 0) {
        const end = ends[place - 1] ?? 0;
        for (let i = ends[place - 2] ?? 0; i < end; i++) bytes[length++] = data[i] ?? 0;
      }
      offsets[id + 1] = length;
    });
    return { bytes, offsets, size };
  }

  private byte(index: number): number {
    return this.text[index] ?? -1;
  }

  /** A piece of the text as it may stand in a message. */
  private excerpt(start: number, end: number): string {
    return quoted(this.text.toString('utf8', start, Math.min(end, start + 40)));
  }

  private fail(expected: string, found: string): never {
    const place = this.line === 0 ? this.path : `${this.path}, line ${this.line}`;
    throw new WkvError('ERR_WKV_FORMAT', `${place}: expected ${expected}, found ${found}`, {
      path: this.path,
      expected,
      found,
    });
  }
}

function hexadecimal(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}
