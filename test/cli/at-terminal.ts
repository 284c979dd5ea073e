import { spawn, spawnSync } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { notOnLinux, unless } from '../support/unless';
import { program } from './support';

/** With FORCE_COLOR, which jest sets at a terminal, Node would warn that it ignores NO_COLOR. */
const environment = {
  ...process.env,
  SHELL: '/bin/sh',
  TERM: 'xterm',
  NO_COLOR: '1',
  FORCE_COLOR: undefined,
};

/** `test` where a terminal can be had. */
export const testAtTerminal = unless(
  notOnLinux("there is no script of Linux' kind") ||
    (spawnSync('script', ['-qec', 'stty', '/dev/null'], { env: environment }).status !== 0 &&
      'there is no script of util-linux, or no stty'),
);

/** A command line whose output, but not always its input, is a terminal. */
export function atTerminal(commandLine: string, columns = 80) {
  const child = spawn('script', ['-qec', `stty cols ${columns} rows 24; ${commandLine}`, '/dev/null'], {
    env: environment,
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  child.stdout.setEncoding('utf8');
  return child;
}

/** `wkv` with these parameters, as a shell reads it. */
export function wkvLine(parameters: readonly string[]): string {
  const words = [process.execPath, ...program, ...parameters];
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}

/** A chat at a terminal. */
export class Terminal {
  readonly #child;
  #output = '';
  readonly ended: Promise<number | null>;

  /** @param after what the shell does when the command stops or ends, and `before` before it begins */
  constructor(parameters: readonly string[], after = '', columns = 80, before = 'set -m') {
    this.#child = atTerminal(`${before}; ${wkvLine(parameters)}; ${after}`, columns);
    this.#child.stdout.on('data', (text: string) => (this.#output += text));
    this.ended = new Promise((resolve) => this.#child.on('close', resolve));
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  /**
   * Waits until this is on the screen, and returns everything before it that has not been returned yet: without colors
   * and movements of the cursor, unless they are wanted too.
   */
  async until(wanted: RegExp, all = false): Promise<string> {
    const begin = performance.now();
    for (;;) {
      const plain = (all ? this.#output : stripVTControlCharacters(this.#output)).replaceAll('\r', '');
      const found = wanted.exec(plain);
      if (found !== null) {
        this.#output = plain.slice(found.index + found[0].length);
        return plain.slice(0, found.index);
      }
      const { exitCode, signalCode } = this.#child;
      if (exitCode !== null || signalCode !== null)
        throw new Error(`the chat ended before ${String(wanted)}: ${plain}`);
      if (performance.now() - begin > 30_000)
        throw new Error(`${String(wanted)} does not come; what there is: ${JSON.stringify(this.#output)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Where a chat waits for what is typed. */
export const prompt = /(^|\n)> $/;
