import { decodeUtf8, incompleteTail } from '../decoder';
import type { NativeDrawn } from '../native';
import type { StopStrings } from './stop-strings';

/** A token that was drawn, and the bytes that it stands for. */
interface GeneratedToken {
  id: number;
  bytes: Uint8Array;
  /** What was drawn with it. */
  details: NativeDrawn;
}

/** Text that goes out, and the tokens that are out completely with it. */
export interface Delivered {
  text: string;
  tokens: GeneratedToken[];
}

/**
 * Between the tokens of a generation and the text that its caller gets: holds back what could begin a stop string and
 * the bytes of a character that is not complete, and knows which tokens the text that is out consists of.
 */
export class Delivery {
  readonly #stops: StopStrings;
  /** Tokens that are not out completely. */
  #waiting: GeneratedToken[] = [];
  /** How many bytes of the first of them are out. */
  #out = 0;
  /** How many tokens are out completely. */
  #complete = 0;

  constructor(stops: StopStrings) {
    this.#stops = stops;
  }

  /** How many tokens are out completely, of all that were pushed. */
  get complete(): number {
    return this.#complete;
  }

  /** The bytes that are out of the token after those. */
  get partial(): Uint8Array {
    return this.#waiting[0]?.bytes.subarray(0, this.#out) ?? new Uint8Array(0);
  }

  /**
   * Takes a token. Where a stop string ends in it, what came before that string is returned, the rest is dropped, and
   * nothing more may be pushed.
   */
  push(token: GeneratedToken): Delivered | undefined {
    this.#waiting.push(token);
    for (const [i, byte] of token.bytes.entries()) {
      const found = this.#stops.push(byte);
      if (found === 0) continue;
      const pending = this.#pending();
      const end = pending.length - (token.bytes.length - (i + 1)) - found;
      return this.#deliver(pending, end);
    }
    return undefined;
  }

  /** What may go out now. */
  take(): Delivered {
    const pending = this.#pending();
    const free = pending.length - Math.min(pending.length, this.#stops.begun);
    return this.#deliver(pending, free - incompleteTail(pending.subarray(0, free)));
  }

  /** Everything that is held back, for the end of a text that no stop string ended. */
  flush(): Delivered {
    const pending = this.#pending();
    return this.#deliver(pending, pending.length);
  }

  /** All bytes that are not out. */
  #pending(): Uint8Array {
    return Buffer.concat(this.#waiting.map(({ bytes }) => bytes)).subarray(this.#out);
  }

  #deliver(pending: Uint8Array, length: number): Delivered {
    this.#out += length;
    let count = 0;
    for (const { bytes } of this.#waiting) {
      if (bytes.length > this.#out) break;
      this.#out -= bytes.length;
      count += 1;
    }
    this.#complete += count;
    return { text: decodeUtf8(pending.subarray(0, length)), tokens: this.#waiting.splice(0, count) };
  }
}
