import { show, withoutPrototype } from './options';

/** Makes the error that says why JSON is refused. */
type Refused = (reason: string, details: { expected: string; found: string }) => Error;

/** A value of JSON that somebody else wrote. Every reading of it checks it, or throws what `refused` makes. */
export class Field {
  readonly #value: unknown;
  readonly #name: string;
  readonly #refused: Refused;

  constructor(value: unknown, name: string, refused: Refused) {
    this.#value = value;
    this.#name = name;
    this.#refused = refused;
  }

  get isNumber(): boolean {
    return typeof this.#value === 'number';
  }

  orNull(): this | undefined {
    return this.#value === null ? undefined : this;
  }

  /** Its values, where it is an object. */
  record(): Readonly<Record<string, unknown>> {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#wrong('an object');
    return withoutPrototype({ ...value });
  }

  /** One of them, whether it is there or not. */
  at(key: string): Field {
    return this.#part(this.record()[key], `.${key}`);
  }

  /** All of them, where it has these keys and no others. */
  object<Key extends string>(keys: readonly Key[]): Readonly<Record<Key, Field>> {
    const value = this.record();
    if (Object.keys(value).length !== keys.length || !keys.every((key) => Object.hasOwn(value, key))) {
      throw this.#wrong(`an object of ${keys.join(', ')}`);
    }
    const fields = keys.map((key) => [key, this.#part(value[key], `.${key}`)]);
    return Object.fromEntries(fields) as Record<Key, Field>;
  }

  array(): Field[] {
    if (!Array.isArray(this.#value)) throw this.#wrong('an array');
    return this.#value.map((each: unknown, i) => this.#part(each, `[${i}]`));
  }

  pair(): [Field, Field] {
    const [first, second, third] = this.array();
    if (first === undefined || second === undefined || third !== undefined) throw this.#wrong('a pair');
    return [first, second];
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
    return Uint32Array.from(this.#value, (id: unknown, i) => {
      if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocabulary) {
        throw this.#part(id, `[${i}]`).#wrong(`a token id from 0 to ${vocabulary - 1}`);
      }
      return id;
    });
  }

  #part(value: unknown, name: string): Field {
    return new Field(value, `${this.#name}${name}`, this.#refused);
  }

  #wrong(expected: string): Error {
    const found = show(this.#value);
    return this.#refused(`${this.#name}: expected ${expected}, found ${found}`, { expected, found });
  }
}
