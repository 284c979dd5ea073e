import { createInterface, type Interface, type Key } from 'node:readline';
import { Writable } from 'node:stream';
import { styled } from './terminal';

/** Some terminals, such as Emacs' shell, take no commands at all. */
const isDumb = process.env['TERM'] === 'dumb';
/** Has the terminal say where what is pasted begins and ends. */
const markPastes = isDumb ? '' : '\u001b[?2004h';
const markNoPastes = isDumb ? '' : '\u001b[?2004l';
/** Stands before the lines of what was pasted, except the first. */
const nextLine = '. ';

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

interface LineEditorOptions {
  /** Words that the tab key completes. */
  words: readonly string[];
  /** Ends the input. */
  signal: AbortSignal;
}

/**
 * Lines that somebody types at a terminal, with editing and a history; several lines that are pasted are one answer. What
 * is typed between two questions waits for the next one. The terminal stays in its raw mode until `close`: Ctrl-C is a
 * key like others.
 */
export class LineEditor {
  readonly #echo = new Echo();
  readonly #editor: Interface;
  readonly #typed: string[] = [];
  #pasting = false;
  /** The lines of what was pasted, except the last, which may still be edited. */
  #pasted: string[] = [];
  /** Whether the last key was a Ctrl-C where nothing was typed. */
  #warned = false;
  #prompt = '';
  #ended = false;
  #answer: ((line: string | undefined) => void) | undefined;
  /** What Ctrl-C does between two questions. */
  onInterrupt: (() => void) | undefined;

  constructor({ words, signal }: LineEditorOptions) {
    // Before the editor, which takes each key afterwards.
    process.stdin.on('keypress', this.#key);
    this.#editor = createInterface({
      input: process.stdin,
      output: this.#echo,
      terminal: true,
      signal,
      completer: (line: string) => [line === '' ? [] : words.filter((word) => word.startsWith(line)), line],
    });
    process.stdout.write(markPastes);
    process.stdout.on('resize', this.#resized);
    this.#editor
      .on('line', (line) => this.#take(line))
      .on('close', () => this.#end())
      // The terminal is gone.
      .on('error', () => this.#end())
      .on('SIGINT', () => this.#interrupt())
      .on('SIGCONT', () => this.#goOn());
  }

  /** The next answer; undefined at the end of the input: Ctrl-D, or Ctrl-C twice where nothing is typed. */
  async next(prompt: string): Promise<string | undefined> {
    const waiting = this.#typed.shift();
    if (waiting !== undefined) {
      process.stdout.write(`${prompt}${waiting}\n`);
      return waiting;
    }
    if (this.#ended) return undefined;
    this.#echo.muted = false;
    this.#prompt = prompt;
    const lines = [...this.#pasted, ''].map((line, i) => `${i === 0 ? prompt : nextLine}${line}`);
    this.#editor.setPrompt(lines.pop() ?? prompt);
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    this.#editor.prompt(true);
    return await new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  close(): void {
    process.stdout.off('resize', this.#resized);
    process.stdin.off('keypress', this.#key);
    this.#editor.close();
  }

  #take(line: string): void {
    this.#pasted.push(line);
    if (this.#pasting) {
      this.#editor.setPrompt(nextLine);
      this.#editor.prompt(true);
      return;
    }
    const all = this.#pasted.join('\n');
    this.#pasted = [];
    if (this.#answer === undefined) this.#typed.push(all);
    else this.#settle(all);
  }

  readonly #key = (_text: string | undefined, { name, ctrl = false }: Key): void => {
    if (name === 'paste-start') this.#pasting = true;
    if (name === 'paste-end') this.#pasting = false;
    if (!(ctrl && name === 'c')) this.#warned = false;
    // It leaves the terminal to the shell until the process goes on.
    if (ctrl && name === 'z') process.stdout.write(markNoPastes);
  };

  /** Goes on after Ctrl-Z and the shell's `fg`: the editor stops its input then. */
  #goOn(): void {
    this.#editor.resume();
    process.stdout.write(markPastes);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    process.stdout.write(markNoPastes);
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
    } else if (this.#editor.line !== '' || this.#pasted.length > 0) {
      this.#pasted = [];
      this.#editor.setPrompt(this.#prompt);
      if (isDumb) this.#beginAnew();
      this.#editor.write(null, { ctrl: true, name: 'e' });
      this.#editor.write(null, { ctrl: true, name: 'u' });
    } else if (this.#warned) {
      this.#editor.close();
    } else {
      this.#warned = true;
      process.stdout.write(`\n${styled('dim', '(Ctrl-C again or Ctrl-D ends)')}\n`);
      this.#editor.prompt();
    }
  }

  /** Takes what is typed away where the editor knows no keys for that. */
  #beginAnew(): void {
    Object.assign(this.#editor, { line: '', cursor: 0 });
    process.stdout.write('\n');
    this.#editor.prompt();
  }

  readonly #resized = (): void => {
    this.#echo.emit('resize');
  };
}
