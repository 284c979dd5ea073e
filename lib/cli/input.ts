import { addAbortSignal } from 'node:stream';
import type { Command } from 'commander';

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
  addAbortSignal(signal, process.stdin);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Buffer));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  return { bytes: Buffer.concat(chunks), piped: true };
}
