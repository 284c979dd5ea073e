import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';

// What was thrown may be anything. Not `instanceof Error`: Node's errors may be of another realm than this module (in a vm
// context, say).

/** The `code` of an error of Node's or of the operating system. */
export function errorCode(thrown: unknown): string | undefined {
  return isNativeError(thrown) && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

/** What an error says; a DOMException is none that Node calls native. */
export function messageOf(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  const message: unknown =
    typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, 'message') : undefined;
  return typeof message === 'string' ? message : inspect(thrown);
}
