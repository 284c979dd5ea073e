import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';

/** Standard output, for the line editor alone: what is typed while a reply is written must not come between. */
class Echo extends Writable {
  muted = true;
  /** The editor asks for it to break its lines. */
  get columns(): number {
    return process.stdout.columns;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) process.stdout.write(chunk);
    done();
  }
}

export interface LineEditorOptions {
  /** Words that the tab key completes. */
  words: readonly string[];
  /** Ends the input. */
  signal: AbortSignal;
}

/**
 * Lines that somebody types at a terminal, with editing and a history. What is typed between two questions waits for the
 * next one. The terminal stays in its raw mode until `close`: Ctrl-C is a key like others.
 */
export class LineEditor {
  readonly #echo = new Echo();
  readonly #editor: Interface;
  readonly #typed: string[] = [];
  #ended = false;
  #answer: ((line: string | undefined) => void) | undefined;
  /** What Ctrl-C does between two questions. */
  onInterrupt: (() => void) | undefined;

  constructor({ words, signal }: LineEditorOptions) {
    this.#editor = createInterface({
      input: process.stdin,
      output: this.#echo,
      terminal: true,
      signal,
      completer: (line: string) => [line === '' ? [] : words.filter((word) => word.startsWith(line)), line],
    });
    process.stdout.on('resize', this.#resized);
    this.#editor
      .on('line', (line) => this.#take(line))
      .on('close', () => this.#end())
      .on('SIGINT', () => this.#interrupt());
  }

  /** The next line; undefined at the end of the input: Ctrl-D, or Ctrl-C where nothing is typed. */
  async next(prompt: string): Promise<string | undefined> {
    const waiting = this.#typed.shift();
    if (waiting !== undefined) {
      process.stdout.write(`${prompt}${waiting}\n`);
      return waiting;
    }
    if (this.#ended) return undefined;
    this.#echo.muted = false;
    this.#editor.setPrompt(prompt);
    this.#editor.prompt(true);
    return await new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  close(): void {
    process.stdout.off('resize', this.#resized);
    this.#editor.close();
  }

  #take(line: string): void {
    if (this.#answer === undefined) this.#typed.push(line);
    else this.#settle(line);
  }

  #end(): void {
    this.#ended = true;
    if (this.#answer === undefined) return;
    process.stdout.write('\n');
    this.#settle(undefined);
  }

  #settle(line: string | undefined): void {
    this.#echo.muted = true;
    this.#answer?.(line);
    this.#answer = undefined;
  }

  #interrupt(): void {
    if (this.#answer === undefined) {
      this.onInterrupt?.();
    } else if (this.#editor.line === '') {
      this.#editor.close();
    } else {
      this.#editor.write(null, { ctrl: true, name: 'e' });
      this.#editor.write(null, { ctrl: true, name: 'u' });
    }
  }

  readonly #resized = (): void => {
    this.#echo.emit('resize');
  };
}
