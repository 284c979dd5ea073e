import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { isProxy, isUint8Array } from 'node:util/types';
import { writeStack } from './errors';
import { errorCode, messageOf } from './thrown';

// Options come from callers: every key is known, every value is of its type and in its range, or an error with
// Node's code says which is not. Functions here return what they checked; `undefined` stands for "not given".

export type Checks<Options> = {
  [Key in keyof Required<Options>]: (name: string, value: unknown) => Options[Key];
};

/**
 * A copy of `options` with every value checked, without a prototype. Messages call it `called`. What is `required` is
 * checked even if it is not given: checks refuse `undefined`.
 *
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE`, or `ERR_INVALID_ARG_VALUE` for a key that does not exist
 * @throws {RangeError} `ERR_OUT_OF_RANGE`
 */
export function checkOptions<Options extends object>(
  options: unknown,
  checks: Checks<Options>,
  called?: string,
): Partial<Options>;
export function checkOptions<Options extends object>(
  options: unknown,
  checks: Checks<Options>,
  called: string,
  required: readonly (keyof Options & string)[],
): Options;
export function checkOptions<Options extends object>(
  options: unknown,
  checks: Checks<Options>,
  called = 'options',
  required: readonly (keyof Options & string)[] = [],
): Partial<Options> {
  const result = withoutPrototype<Partial<Options>>({});
  const given = options === undefined ? {} : options;
  if (!isPlainObject(given)) {
    throw wrongType(called, 'a plain object, of no class and with no prototype of its own', given);
  }
  for (const key of Object.keys(given)) {
    if (!isKey(checks, key)) {
      const known = Object.keys(checks).join(', ');
      throw wrongValue(`${called}.${key}: there is no such option; there are ${known}`);
    }
    const value: unknown = Reflect.get(given, key);
    if (value !== undefined) result[key] = checks[key](`${called}.${key}`, value);
  }
  for (const key of required) result[key] ??= checks[key](`${called}.${key}`, undefined);
  return result;
}

/** A copy that has nothing but its own keys: what is not there is `undefined`, whatever Object.prototype has. */
export function withoutPrototype<Options extends object>(options: Options): Options {
  return Object.assign(Object.create(null) as Options, options);
}

/** Whether it is an object that nobody gave a prototype of its own, whatever realm it comes from. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (typeof prototype !== 'object' || prototype === null) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf');
}

function isKey<Options extends object>(checks: Checks<Options>, key: string): key is keyof Options & string {
  return Object.hasOwn(checks, key);
}

export function text(name: string, value: unknown): string {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value);
  return value;
}

/** Not by its class: environments of tests put others in the place of Node's. */
function isUrl(value: unknown): value is URL {
  if (typeof value !== 'object' || value === null) return false;
  return typeof Reflect.get(value, 'href') === 'string' && typeof Reflect.get(value, 'protocol') === 'string';
}

/** A path, given as that or as a `file:` URL, which may be text. What is no path has Node's code. */
export function pathText(name: string, value: unknown): string {
  const given = isUrl(value) ? value.href : value;
  if (typeof given !== 'string' || given === '') {
    throw wrongType(name, 'a non-empty path or a file: URL', value);
  }
  if (!isUrl(value) && !/^file:\//i.test(given)) return given;
  try {
    return fileURLToPath(given);
  } catch (cause) {
    const code = errorCode(cause) ?? 'ERR_INVALID_URL';
    throw withCode(new TypeError(`${name}: ${show(given)} is no path: ${messageOf(cause)}`, { cause }), code);
  }
}

export function uint8Array(name: string, value: unknown): Uint8Array {
  if (!isUint8Array(value)) throw wrongType(name, 'a Uint8Array', value);
  requireMemoryOf(name, value);
  return value;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value);
  return value;
}

/** What is called with the progress of any work; nobody looks at its result. */
type ProgressCallback = (progress: {
  phase: 'load' | 'convert' | 'evaluate';
  completed: number;
  total: number;
}) => void;

export function callback(name: string, value: unknown): ProgressCallback {
  if (!isCallback(value)) throw wrongType(name, 'a function', value);
  return value;
}

function isCallback(value: unknown): value is ProgressCallback {
  return typeof value === 'function';
}

/** A number from `lowest` to `highest`, both included. */
export function number(lowest: number, highest: number) {
  return (name: string, value: unknown): number => {
    if (typeof value !== 'number') throw wrongType(name, 'a number', value);
    if (!(value >= lowest && value <= highest)) {
      throw outOfRange(name, `a number from ${lowest} to ${highest}`, value);
    }
    return value;
  };
}

/** An integer from `lowest` to `highest`, both included. */
export function integer(lowest: number, highest: number) {
  return (name: string, value: unknown): number => {
    if (typeof value !== 'number') throw wrongType(name, 'a number', value);
    if (!(Number.isInteger(value) && value >= lowest && value <= highest)) {
      throw outOfRange(name, `an integer from ${lowest} to ${highest}`, value);
    }
    return value;
  };
}

/** One of some words. */
export function oneOf<Word extends string>(...words: readonly Word[]) {
  return (name: string, value: unknown): Word => {
    const found = words.find((word) => word === value);
    if (found === undefined) {
      const expected = `one of ${words.map((word) => `'${word}'`).join(', ')}`;
      if (value === undefined) throw wrongType(name, expected, value);
      throw wrongValue(`${name}: expected ${expected}, found ${show(value)}`);
    }
    return found;
  };
}

/** A seed: an integer from 0 to 2^53 - 1, or a bigint from 0 to 2^64 - 1. */
export function seed(name: string, value: unknown): bigint {
  if (typeof value === 'bigint') {
    if (value < 0n || value >= 1n << 64n) throw outOfRange(name, 'a bigint from 0 to 2^64 - 1', value);
    return value;
  }
  if (typeof value !== 'number') throw wrongType(name, 'a number or a bigint', value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw outOfRange(name, 'an integer from 0 to 2^53 - 1', value);
  }
  return BigInt(value);
}

export function abortSignal(name: string, value: unknown): AbortSignal {
  if (!isAbortSignal(value)) throw wrongType(name, 'an AbortSignal', value);
  return value;
}

// By its shape, because a signal may come from another realm.
function isAbortSignal(value: unknown): value is AbortSignal {
  return (
    typeof value === 'object' &&
    value !== null &&
    !isProxy(value) &&
    'aborted' in value &&
    'reason' in value &&
    ['addEventListener', 'removeEventListener', 'throwIfAborted'].every(
      (method) => typeof Reflect.get(value, method) === 'function',
    )
  );
}

const typedArrays: object = Object.getPrototypeOf(Float32Array.prototype) as object;

/** How many elements a typed array has, whatever its own property `length`, or that of its class, says. */
export function lengthOf(array: Float32Array | Int8Array | Int32Array | Uint32Array): number {
  return Number(Reflect.get(typedArrays, 'length', array));
}

/** Refuses an array whose buffer was transferred to somebody else, or has shrunk: it would pass for an empty one. */
export function requireMemoryOf(name: string, array: Uint8Array | Uint32Array): void {
  if (Number(Reflect.get(typedArrays, 'length', array)) > 0) return;
  try {
    Reflect.apply(Reflect.get(typedArrays, 'values') as () => unknown, array, []);
  } catch {
    throw wrongValue(
      `${name}: expected an array with its memory, found one whose buffer was transferred or has shrunk`,
    );
  }
}

export function wrongType(name: string, expected: string, value: unknown): TypeError {
  return withCode(
    new TypeError(`${name}: expected ${expected}, found ${show(value)}`),
    'ERR_INVALID_ARG_TYPE',
  );
}

export function wrongValue(message: string): TypeError {
  return withCode(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  return withCode(new RangeError(`${name}: expected ${expected}, found ${show(value)}`), 'ERR_OUT_OF_RANGE');
}

function withCode<Failure extends Error>(error: Failure, code: string): Failure {
  writeStack(error);
  return Object.assign(error, { code });
}

/** A value as messages show it. */
export function show(value: unknown): string {
  // Quoted, and without line ends that would tear the message apart.
  if (typeof value === 'string') return inspect(value.slice(0, 50), { colors: false, breakLength: Infinity });
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' || typeof value === 'boolean' || value === undefined) return String(value);
  if (value === null) return 'null';
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (Array.isArray(value)) return 'an array';
  const name = classNameOf(value);
  return name === undefined || name === 'Object' ? 'an object' : `an object of the class ${name}`;
}

/** What the class of an object is called, if that can be seen without running any code of the caller's. */
function classNameOf(value: object): string | undefined {
  if (isProxy(value)) return undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  const constructor = plainValue(prototype, 'constructor');
  const name = typeof constructor === 'function' ? plainValue(constructor, 'name') : undefined;
  return typeof name === 'string' && name !== '' ? name.slice(0, 50) : undefined;
}

/** What an object's own property is, unless it is a getter or the object a proxy. */
function plainValue(object: unknown, key: string): unknown {
  if ((typeof object !== 'object' && typeof object !== 'function') || object === null || isProxy(object))
    return undefined;
  return Object.getOwnPropertyDescriptor(object, key)?.value;
}
