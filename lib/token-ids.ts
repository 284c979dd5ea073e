import { isUint32Array } from 'node:util/types';
import { WkvError } from './errors';

/**
 * A fresh copy of `tokens`, checked against a vocabulary of `size` ids.
 *
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it is neither a `Uint32Array` nor an array of numbers
 * @throws {RangeError} `ERR_OUT_OF_RANGE` where a number is not an integer
 * @throws {WkvError} `ERR_WKV_TOKEN` where an id is negative, or `size` or more
 */
export function copyTokens(
  tokens: Uint32Array | readonly number[],
  size: number,
  name = 'tokens',
): Uint32Array {
  if (!isUint32Array(tokens) && !Array.isArray(tokens)) {
    throw invalidType(name, 'a Uint32Array or an array of numbers', tokens);
  }
  const copy = new Uint32Array(tokens.length);
  for (let i = 0; i < copy.length; i++) copy[i] = checkToken(tokens[i], size, name, i);
  return copy;
}

function checkToken(token: unknown, size: number, array: string, index: number): number {
  // A million valid tokens need no names.
  if (typeof token === 'number' && token >= 0 && token < size && Number.isInteger(token)) return token;
  const name = `${array}[${index}]`;
  if (typeof token !== 'number') throw invalidType(name, 'a number', token);
  if (!Number.isInteger(token)) {
    throw withCode(
      new RangeError(`${name}: expected an integer from 0 to ${size - 1}, found ${token}`),
      'ERR_OUT_OF_RANGE',
    );
  }
  const expected = `an id from 0 to ${size - 1}`;
  throw new WkvError('ERR_WKV_TOKEN', `${name}: expected ${expected}, found ${token}`, {
    expected,
    found: String(token),
  });
}

/** The `TypeError` of an argument of the wrong type, with Node's code for it. */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  return withCode(new TypeError(`${name}: expected ${expected}, found ${found}`), 'ERR_INVALID_ARG_TYPE');
}

function withCode<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}
