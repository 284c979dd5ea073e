import { WkvError } from '../errors';
import { show } from '../options';

/** Says why bytes are no saved conversation. */
export function refused(
  reason: string,
  details: { expected?: string; found?: string; cause?: unknown } = {},
): WkvError {
  return new WkvError(
    'ERR_WKV_STATE',
    `these bytes are no conversation of wkv that can be read: ${reason}`,
    details,
  );
}

/** A value of JSON that somebody else wrote. Every reading of it checks it, or throws {@link refused}. */
export class Field {
  readonly #value: unknown;
  readonly #name: string;

  constructor(value: unknown, name: string) {
    this.#value = value;
    this.#name = name;
  }

  get isNumber(): boolean {
    return typeof this.#value === 'number';
  }

  orNull(): this | undefined {
    return this.#value === null ? undefined : this;
  }

  /** Its values, where it has these keys and no others. */
  object<Key extends string>(keys: readonly Key[]): Readonly<Record<Key, Field>> {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#wrong('an object');
    const found = Object.keys(value);
    if (found.length !== keys.length || !keys.every((key) => Object.hasOwn(value, key))) {
      throw this.#wrong(`an object of ${keys.join(', ')}`);
    }
    const fields = keys.map((key) => [key, new Field(Reflect.get(value, key), `${this.#name}.${key}`)]);
    return Object.fromEntries(fields) as Record<Key, Field>;
  }

  array(): Field[] {
    if (!Array.isArray(this.#value)) throw this.#wrong('an array');
    return this.#value.map((each: unknown, i) => new Field(each, `${this.#name}[${i}]`));
  }

  text(): string {
    if (typeof this.#value !== 'string') throw this.#wrong('a string');
    return this.#value;
  }

  word<Word extends string>(...words: readonly Word[]): Word {
    const found = words.find((word) => word === this.#value);
    if (found === undefined) throw this.#wrong(words.join(' or '));
    return found;
  }

  number(lowest: number, highest: number): number {
    const value = this.#value;
    if (typeof value !== 'number' || !(value >= lowest && value <= highest)) {
      throw this.#wrong(`a number from ${lowest} to ${highest}`);
    }
    return value;
  }

  integer(lowest: number, highest: number): number {
    const value = this.number(lowest, highest);
    if (!Number.isInteger(value)) throw this.#wrong('an integer');
    return value;
  }

  /** An integer of 64 bits, which JSON has as text. */
  bits64(): bigint {
    const digits = this.text();
    const value = /^\d{1,20}$/.test(digits) ? BigInt(digits) : undefined;
    if (value === undefined || value >= 1n << 64n) throw this.#wrong('an integer below 2^64, as text');
    return value;
  }

  tokens(vocabulary: number): Uint32Array {
    if (!Array.isArray(this.#value)) throw this.#wrong('an array of token ids');
    return Uint32Array.from(this.#value, (id: unknown) => {
      if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocabulary) {
        throw this.#wrong(`token ids from 0 to ${vocabulary - 1}`);
      }
      return id;
    });
  }

  #wrong(expected: string): WkvError {
    const found = show(this.#value);
    return refused(`${this.#name}: expected ${expected}, found ${found}`, { expected, found });
  }
}
