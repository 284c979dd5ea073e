import { isUint32Array } from 'node:util/types';
import { WkvError } from './errors';
import { integer, lengthOf, outOfRange, requireMemoryOf, wrongType } from './options';

/**
 * A fresh copy of `tokens`, checked against a vocabulary of `size` ids. Messages call it `name`, and what it is to be
 * `expected`.
 *
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it is neither a `Uint32Array` nor an array of numbers,
 *   `ERR_INVALID_ARG_VALUE` where its memory is gone
 * @throws {RangeError} `ERR_OUT_OF_RANGE` where a number is not an integer
 * @throws {WkvError} `ERR_WKV_TOKEN` where an id is negative, or `size` or more
 */
export function copyTokens(
  tokens: unknown,
  size: number,
  name = 'tokens',
  expected = 'a Uint32Array or an array of numbers',
): Uint32Array {
  let length: unknown;
  if (isUint32Array(tokens)) {
    requireMemoryOf(name, tokens);
    length = lengthOf(tokens);
  } else if (Array.isArray(tokens)) {
    length = tokens.length; // of a proxy, it may be anything
  } else {
    throw wrongType(name, expected, tokens);
  }
  const copy = new Uint32Array(integer(0, 2 ** 32 - 1)(`${name}.length`, length));
  for (let i = 0; i < copy.length; i++) {
    const token: unknown = tokens[i];
    // A million valid tokens need no names.
    copy[i] = isToken(token, size) ? token : checkToken(token, size, `${name}[${i}]`);
  }
  return copy;
}

function isToken(token: unknown, size: number): token is number {
  return typeof token === 'number' && token >= 0 && token < size && Number.isInteger(token);
}

/** A token id, checked like those of {@link copyTokens}. */
export function checkToken(token: unknown, size: number, name: string): number {
  if (isToken(token, size)) return token;
  if (typeof token !== 'number') throw wrongType(name, 'a number', token);
  if (!Number.isInteger(token)) throw outOfRange(name, `an integer from 0 to ${size - 1}`, token);
  const expected = `an id from 0 to ${size - 1}`;
  throw new WkvError('ERR_WKV_TOKEN', `${name}: expected ${expected}, found ${token}`, {
    expected,
    found: String(token),
  });
}
