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

/** Characters that could make a terminal or a reader see something else than what is there. */
const misleading = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Text out of a file, made fit for a message: quoted, control characters escaped, shortened. */
export function quoted(text: string): string {
  return JSON.stringify(shortened(text)).replace(misleading, (character) =>
    character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

/** Text out of a file, shortened. */
export function shortened(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
