import { TextDecoder } from 'node:util';
import { uint8Array, wrongType } from './options';
import type { TokenizerLike } from './tokenizer';

/**
 * Turns tokens into text as they come, and never emits half a character: the boundaries of tokens split UTF-8
 * characters, so the bytes of a character that is not complete yet are held back.
 *
 * All parts together are exactly what `decode` makes of all tokens at once: bytes that are no UTF-8 become U+FFFD
 * as the WHATWG's Encoding Standard says, a byte order mark is kept.
 */
export class StreamingDecoder {
  /** The beginning of a character: none or up to three bytes. */
  private held = new Uint8Array(0);

  /** @throws {TypeError} `ERR_INVALID_ARG_TYPE` where the tokenizer has no `decodeBytes` */
  constructor(private readonly tokenizer: Pick<TokenizerLike, 'decodeBytes'>) {
    const given: unknown = tokenizer;
    if (typeof given !== 'object' || given === null || typeof tokenizer.decodeBytes !== 'function') {
      throw wrongType('tokenizer', 'an object with decodeBytes', given);
    }
  }

  /** How many bytes are held back, from 0 to 3. */
  get pending(): number {
    return this.held.length;
  }

  /**
   * Takes the next token or tokens and returns the characters that they complete.
   *
   * @throws what the tokenizer's `decodeBytes` throws, {TypeError} where it does not return bytes; the decoder is then
   *   as before
   */
  push(tokens: number | Iterable<number>): string {
    return this.pushBytes(bytesOf(this.tokenizer, typeof tokens === 'number' ? [tokens] : toArray(tokens)));
  }

  /**
   * Takes the next bytes, of whatever tokens, and returns the characters that they complete.
   *
   * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where they are no Uint8Array
   */
  pushBytes(bytes: Uint8Array): string {
    const all = Buffer.concat([this.held, uint8Array('bytes', bytes)]);
    const complete = all.length - incompleteTail(all);
    this.held = Uint8Array.from(all.subarray(complete));
    return decodeUtf8(all.subarray(0, complete));
  }

  /**
   * Ends the text: returns U+FFFD where it ends inside a character, else the empty string. What is pushed after
   * that begins a new text.
   */
  end(): string {
    const rest = decodeUtf8(this.held);
    this.held = new Uint8Array(0);
    return rest;
  }
}

/**
 * The bytes that a tokenizer, which may be a caller's, has for tokens.
 *
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it returns something else
 */
export function bytesOf(
  tokenizer: Pick<TokenizerLike, 'decodeBytes'>,
  tokens: readonly number[],
): Uint8Array {
  return uint8Array('what tokenizer.decodeBytes returned', tokenizer.decodeBytes(tokens));
}

/** Decodes whole: what is no UTF-8 becomes U+FFFD, a byte order mark is kept. */
export function decodeUtf8(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function toArray(tokens: unknown): number[] {
  if (!isIterable(tokens)) throw wrongType('tokens', 'a number or an iterable of numbers', tokens);
  return Array.from(tokens);
}

/** Whether a value can be iterated; the tokenizer checks what it gives. */
function isIterable(value: unknown): value is Iterable<number> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

/** How many bytes at the end, from 0 to 3, begin a character that further bytes could complete. */
export function incompleteTail(bytes: Uint8Array): number {
  for (let length = 1; length <= Math.min(3, bytes.length); length++) {
    const lead = bytes[bytes.length - length] ?? 0;
    if (lead < 0x80) return 0;
    if (lead >= 0xc0) {
      const second = bytes[bytes.length - length + 1];
      return length < sequenceLength(lead) && (second === undefined || mayFollow(lead, second)) ? length : 0;
    }
  }
  return 0;
}

/** The length of a character by its first byte, 0 where no character begins with it (RFC 3629 section 4). */
function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/**
 * Whether a continuation byte may be the second of a character: not where it would be too long an encoding, a
 * surrogate, or past U+10FFFF.
 */
function mayFollow(lead: number, second: number): boolean {
  switch (lead) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second <= 0x9f;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second <= 0x8f;
    default:
      return true;
  }
}
