import { isNativeError } from 'node:util/types';

/** What a test expects of an error; what is left out may be anything. */
export interface Failure {
  type?: new (...parameters: never[]) => Error;
  code?: string | RegExp;
  message?: RegExp;
  tensor?: string;
  path?: string;
  expected?: RegExp;
  found?: RegExp;
}

/** The error that a call throws. */
export function thrown(call: () => unknown): unknown {
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    return error;
  }
  throw new Error(`nothing was thrown, but returned: ${String(result).slice(0, 100)}`);
}

/**
 * The error that the promise of a call is rejected with. A call that throws at once fails: its error would miss the
 * caller's `.catch`.
 */
export function rejection(call: () => unknown): Promise<unknown> {
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    throw new Error('thrown at once, not rejected', { cause: error });
  }
  return Promise.resolve(result).then(
    (value) => {
      throw new Error(`not rejected, but resolved: ${String(value).slice(0, 100)}`);
    },
    (error: unknown) => error,
  );
}

/** Checks an error against what was expected of it. */
export function expectFailure(error: unknown, failure: Failure): void {
  const { type, ...texts } = failure;
  // Errors of Node itself are made outside the realm that jest runs tests in: they are no `instanceof Error` here.
  expect(isNativeError(error)).toBe(true);
  if (type !== undefined) {
    expect(error).toBeInstanceOf(type);
  }
  for (const [key, wanted] of Object.entries(texts)) {
    const found: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, key) : undefined;
    if (wanted instanceof RegExp) {
      expect(`${key}: ${String(found)}`).toMatch(wanted);
    } else {
      expect({ [key]: found }).toEqual({ [key]: wanted });
    }
  }
}

/** The failure of an argument of the wrong type, or with a value or key that there is not. */
export function invalidArgument(message: RegExp): Failure {
  return { type: TypeError, code: /ERR_INVALID_ARG_(TYPE|VALUE)$/, message };
}

/** The failure of a number outside its range. */
export function outOfRange(message: RegExp): Failure {
  return { type: RangeError, code: 'ERR_OUT_OF_RANGE', message };
}

/** Calls a method with arguments that its types forbid, as plain JavaScript can. */
export function callUnchecked(object: object, name: string, parameters: readonly unknown[]): unknown {
  const method: unknown = Reflect.get(object, name);
  if (typeof method !== 'function') {
    throw new TypeError(`there is no method ${name}`);
  }
  const result: unknown = Reflect.apply(method, object, parameters);
  return result;
}
