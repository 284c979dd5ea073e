import { fstatSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import type { Command } from 'commander';

/** Bytes that standard input may have: what is longer takes days, or never ends. */
const maxBytes = 2 ** 30;

/** `process.stdin`, which of a directory is an empty file. */
export function standardInput(): typeof process.stdin {
  if (!process.stdin.isTTY && fstatSync(process.stdin.fd).isDirectory()) {
    throw new Error('standard input is a directory, not a file');
  }
  return process.stdin;
}

/**
 * The text that a command works on, as bytes: its argument, or all of standard input where the argument is `-`, or
 * is missing and standard input is no terminal.
 */
export async function readInput(
  command: Command,
  argument: string | undefined,
  signal: AbortSignal,
): Promise<{ bytes: Buffer; piped: boolean }> {
  if (argument !== undefined && argument !== '-') {
    return { bytes: Buffer.from(argument, 'utf8'), piped: false };
  }
  if (argument === undefined && process.stdin.isTTY) {
    const name = command.registeredArguments[0]?.name() ?? 'text';
    command.error(`error: ${name.toUpperCase()} is missing: give it, or - to read standard input`);
  }
  const input = addAbortSignal(signal, standardInput());
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) throw new Error(`standard input has more than ${maxBytes} bytes`);
      chunks.push(Buffer.from(chunk));
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  return { bytes: Buffer.concat(chunks), piped: true };
}
