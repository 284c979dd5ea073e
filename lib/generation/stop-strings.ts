import { outOfRange, text } from '../options';

/** The longest stop string, in bytes. */
const longestStop = 4096;

/**
 * The bytes of a stop string that a caller gave.
 *
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it is no string
 * @throws {RangeError} `ERR_OUT_OF_RANGE` where it is empty, or too long
 */
export function stopBytes(name: string, value: unknown): Uint8Array {
  const string = text(name, value);
  const bytes = Buffer.from(string, 'utf8');
  if (bytes.length === 0 || bytes.length > longestStop) {
    throw outOfRange(name, `a string of 1 to ${longestStop} bytes`, string);
  }
  return bytes;
}

/**
 * Looks for strings in bytes that come one by one: where the first of them ends, and how much at the end could still
 * become one. Knuth, Morris and Pratt's algorithm for each string.
 */
export class StopStrings {
  readonly #searches: readonly Search[];

  /** @param stops none of them empty */
  constructor(stops: readonly Uint8Array[]) {
    this.#searches = stops.map((bytes) => ({ bytes, links: failureLinks(bytes), matched: 0 }));
  }

  /** The length of the longest string, 0 where there is none. */
  get longest(): number {
    return this.#searches.reduce((longest, { bytes }) => Math.max(longest, bytes.length), 0);
  }

  /** How many of the last bytes begin a string: the longest beginning that they end with. */
  get begun(): number {
    return this.#searches.reduce((longest, { matched }) => Math.max(longest, matched), 0);
  }

  /** Takes the next byte; the length of the longest string that ends with it, or 0. */
  push(byte: number): number {
    let found = 0;
    for (const search of this.#searches) {
      while (search.matched > 0 && search.bytes[search.matched] !== byte) {
        search.matched = search.links[search.matched - 1] ?? 0;
      }
      if (search.bytes[search.matched] === byte) search.matched += 1;
      if (search.matched === search.bytes.length) {
        found = Math.max(found, search.matched);
        search.matched = search.links[search.matched - 1] ?? 0;
      }
    }
    return found;
  }
}

interface Search {
  bytes: Uint8Array;
  links: Uint16Array;
  /** How many bytes of the string the input ends with. */
  matched: number;
}

/** For each prefix the length of the longest shorter prefix that it ends with. */
function failureLinks(bytes: Uint8Array): Uint16Array {
  const links = new Uint16Array(bytes.length);
  let length = 0;
  for (let i = 1; i < bytes.length; i++) {
    while (length > 0 && bytes[i] !== bytes[length]) length = links[length - 1] ?? 0;
    if (bytes[i] === bytes[length]) length += 1;
    links[i] = length;
  }
  return links;
}
