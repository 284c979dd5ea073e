import { getSystemErrorMap, stripVTControlCharacters } from 'node:util';
import { printable } from './terminal';

/** Exit codes of all commands. */
export const exitCode = { done: 0, failed: 1, wrongUsage: 2 } as const;

/** What an error says, with control characters made visible: messages carry names out of files. */
export function printableMessage(error: unknown): string {
  if (!(error instanceof Error)) return printable(String(error));
  return printable(stripVTControlCharacters(systemMessage(error) ?? error.message));
}

/** One paragraph for the person at the terminal; with `WKV_DEBUG=1` all that is known. */
export function explain(error: unknown): string {
  const paragraph = `error: ${printableMessage(error)}${details(error)}\n`;
  if (process.env['WKV_DEBUG'] !== '1' || !(error instanceof Error)) return paragraph;
  const cause = error.cause instanceof Error ? `caused by ${error.cause.stack ?? error.cause.message}\n` : '';
  return `${paragraph}${printable(`${error.stack ?? ''}\n${cause}`)}`;
}

/** Path, tensor, expected and found of a WkvError, where the message does not have them already. */
function details(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const missing = (['path', 'tensor', 'expected', 'found'] as const).flatMap((key) => {
    const value: unknown = Reflect.get(error, key);
    return typeof value === 'string' && !error.message.includes(value) ? [`${key}: ${printable(value)}`] : [];
  });
  return missing.length === 0 ? '' : ` (${missing.join('; ')})`;
}

/** The common errors of the file system about a file, in words. */
function systemMessage(error: Error): string | undefined {
  if (Reflect.get(error, 'syscall') === 'uv_cwd') return 'the current directory is gone';
  const path: unknown = Reflect.get(error, 'path');
  const reason = reasons.get(Reflect.get(error, 'code'));
  // Node's own errors name the call; others say in words what they are about.
  const isNodes = typeof path === 'string' && Reflect.has(error, 'syscall');
  return isNodes && reason !== undefined ? `cannot read ${path}: ${reason}` : undefined;
}

const reasons: ReadonlyMap<unknown, string> = new Map([
  ['ENOENT', 'there is no such file'],
  ['EACCES', 'permission denied'],
  ['EISDIR', 'it is a directory'],
  ['ENOTDIR', 'a part of its path is not a directory'],
  ['ENOSPC', 'there is no space left'],
]);

/** Why something could not be done with a file. */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const reason = reasons.get(Reflect.get(error, 'code'));
  // What Node adds, the code, the call and the path, is left out.
  const [, words] = getSystemErrorMap().get(Number(Reflect.get(error, 'errno'))) ?? [];
  return reason ?? words ?? error.message;
}
