import { TextDecoder } from 'node:util';
import { WkvError, type WkvErrorDetails } from '../errors';

/** A file that is truncated, corrupt or not what it says. */
export function corrupt(path: string, problem: string, details: WkvErrorDetails = {}): WkvError {
  return new WkvError('ERR_WKV_FORMAT', `${path}: ${problem}`, { path, ...details });
}

/** A file that may well be sound, but of a kind that is not read here. */
export function unsupported(path: string, problem: string, details: WkvErrorDetails = {}): WkvError {
  return new WkvError('ERR_WKV_UNSUPPORTED', `${path}: ${problem}`, { path, ...details });
}

/** Bytes of a file as text; `what` they are is for the message where they are no UTF-8. */
export function utf8(bytes: Uint8Array, path: string, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw corrupt(path, `${what} is not UTF-8`, { cause });
  }
}
