import { TextDecoder } from 'node:util';
import { quoted } from '../quoted';

/** JSON with objects as maps, so that keys like `__proto__` are keys like any other. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export type JsonObject = Map<string, JsonValue>;

const maxDepth = 32;
const maxValues = 1_000_000;

/**
 * Parses JSON (RFC 8259) and refuses what is ambiguous or made to exhaust memory: a key twice in one object,
 * nesting deeper than 32, more than a million values, text that is not UTF-8.
 *
 * @param asPython also takes what Python writes and reads as JSON: NaN, Infinity and -Infinity; and a byte order mark
 * @throws Error with a message that says what is wrong and where
 */
export function parseJson(bytes: Uint8Array, asPython = false): JsonValue {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: !asPython }).decode(bytes);
  return new JsonParser(text, asPython).parse();
}

class JsonParser {
  private at = 0;
  private values = 0;

  constructor(
    private readonly text: string,
    private readonly asPython: boolean,
  ) {}

  parse(): JsonValue {
    const value = this.value(0);
    this.skipSpace();
    if (this.at !== this.text.length) throw this.error('text after the end of the value');
    return value;
  }

  private value(depth: number): JsonValue {
    if (depth > maxDepth) throw this.error(`nesting deeper than ${maxDepth}`);
    if (++this.values > maxValues) throw this.error(`more than ${maxValues} values`);
    this.skipSpace();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  private object(depth: number): JsonObject {
    const object: JsonObject = new Map();
    this.at++;
    if (this.accept('}')) return object;
    do {
      this.skipSpace();
      if (this.text[this.at] !== '"') throw this.error('something that is not a key');
      const key = this.string();
      if (object.has(key)) throw this.error(`the key ${quoted(key)} a second time`);
      if (!this.accept(':')) throw this.error('something that is not ":"');
      object.set(key, this.value(depth + 1));
    } while (this.accept(','));
    if (!this.accept('}')) throw this.error('something that is neither "," nor "}"');
    return object;
  }

  private array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.at++;
    if (this.accept(']')) return array;
    do array.push(this.value(depth + 1));
    while (this.accept(','));
    if (!this.accept(']')) throw this.error('something that is neither "," nor "]"');
    return array;
  }

  private string(): string {
    const start = this.at;
    let plain = true;
    for (let end = start + 1; end < this.text.length; end++) {
      const code = this.text.charCodeAt(end);
      if (code === 0x22 /* " */) {
        this.at = end + 1;
        return plain ? this.text.slice(start + 1, end) : this.unescape(start, end + 1);
      }
      if (code < 0x20) break;
      if (code === 0x5c /* \ */) {
        plain = false;
        end++;
      }
    }
    throw this.error('text without an end');
  }

  private unescape(start: number, end: number): string {
    try {
      return String(JSON.parse(this.text.slice(start, end)));
    } catch (cause) {
      this.at = start;
      throw this.error('text with a wrong escape', cause);
    }
  }

  private number(): number {
    const next = this.asPython ? this.text.slice(this.at, this.at + 9) : '';
    const [word] = /^(?:NaN|-?Infinity)/.exec(next) ?? [];
    if (word !== undefined) return this.word(word, Number(word));
    const pattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
    pattern.lastIndex = this.at;
    const digits = pattern.exec(this.text)?.[0];
    if (digits === undefined)
      throw this.error(this.at < this.text.length ? 'no value' : 'the end of the text');
    this.at += digits.length;
    return Number(digits);
  }

  private word<Value>(word: string, value: Value): Value {
    if (!this.text.startsWith(word, this.at)) throw this.error('no value');
    this.at += word.length;
    return value;
  }

  private accept(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at++;
  }

  private error(found: string, cause?: unknown): Error {
    return new Error(`JSON with ${found} at character ${this.at}`, { cause });
  }
}
