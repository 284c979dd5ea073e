import { Branches } from './branches';
import { commandNames, describe, runCommand, type CommandContext } from './chat-commands';
import { explain } from './errors';
import { receiveReply, write, type Result } from './generation';
import { Interrupted } from './interruption';
import { LineEditor } from './line-editor';
import { printable, styled } from './terminal';
import { terminalWidth, WordWrap, wrapped } from './word-wrap';
import type { Chat } from '../chat';
import type { ChatPart } from '../chat/reply';
import { withoutBlankLines } from '../chat/text';
import type { GenerateOptions } from '../generate';

const prompt = '> ';

/** A conversation with somebody at a terminal. */
export class TerminalChat implements CommandContext {
  readonly branches: Branches;
  last: Result | undefined;
  readonly #options: GenerateOptions;
  readonly #signal: AbortSignal;
  readonly #editor: LineEditor;
  /** Goes with the first reply alone: later ones go on with the random numbers after it. */
  #seed: bigint | undefined;
  #ended = false;
  readonly #hint: string | undefined;

  /** @param hint what to know of the model */
  constructor(
    chat: Chat,
    options: GenerateOptions,
    seed: bigint | undefined,
    signal: AbortSignal,
    hint: string | undefined,
  ) {
    this.#hint = hint;
    this.branches = new Branches(chat);
    this.#options = options;
    this.#seed = seed;
    this.#signal = signal;
    this.#editor = new LineEditor({ words: commandNames, signal });
  }

  /** Replies to what is typed, until it ends. */
  async run(): Promise<void> {
    try {
      this.tell(`${this.#greeting()}\n/help lists the commands, Ctrl-D ends.`);
      while (!this.#ended) {
        const line = await this.#editor.next(prompt);
        this.#signal.throwIfAborted();
        if (line === undefined) return;
        await this.#answer(line.trim());
      }
    } finally {
      this.#editor.close();
    }
  }

  readonly tell = (text: string): void => {
    process.stdout.write(`${styled('dim', wrapped(text))}\n\n`);
  };

  readonly interruptible = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const stop = new AbortController();
    this.#editor.onInterrupt = () => stop.abort(new Interrupted(false));
    try {
      return await work(AbortSignal.any([this.#signal, stop.signal]));
    } finally {
      this.#editor.onInterrupt = undefined;
    }
  };

  readonly regenerate = async (): Promise<void> => {
    await this.#reply((signal) => this.branches.chat.regenerate({ ...this.#options, signal }));
  };

  readonly exit = (): void => {
    this.#ended = true;
  };

  #greeting(): string {
    const { model } = this.branches.chat.session;
    const { version, parameters, isa } = model.info;
    const millions = (parameters / 1e6).toFixed(parameters < 1e7 ? 1 : 0);
    const begun = this.branches.chat.messages.length === 0 ? '' : `\n${describe(this.branches.chat)}`;
    const hint = this.#hint === undefined ? '' : `\n${this.#hint}`;
    return `RWKV ${version}, ${millions} million parameters, ${isa}${hint}${begun}`;
  }

  /** Whatever fails is told, and the conversation is as it was. */
  async #answer(line: string): Promise<void> {
    if (line === '') return;
    try {
      if (line.startsWith('/') && !line.startsWith('//')) await runCommand(line, this);
      else await this.#say(line.replace(/^\/\//, '/'));
    } catch (error) {
      this.#signal.throwIfAborted();
      process.stdout.write(`${styled('red', wrapped(explain(error).trimEnd()))}\n\n`);
    }
  }

  async #say(text: string): Promise<void> {
    if (withoutBlankLines(text) === '') return;
    const { chat } = this.branches;
    const before = chat.lastTurn;
    const options = { ...this.#options, seed: this.#seed };
    await this.#reply((signal) => chat.send(text, { ...options, signal }));
    // One that was stopped before its reply has drawn nothing.
    if (chat.lastTurn !== before) this.#seed = undefined;
  }

  async #reply(begin: (signal: AbortSignal) => AsyncIterable<ChatPart>): Promise<void> {
    const shown = new ShownReply(this.#signal);
    let result: Result;
    try {
      result = await this.interruptible((signal) =>
        receiveReply(this.branches.chat, begin(signal), signal, (part) => shown.show(part)),
      );
    } finally {
      shown.close();
    }
    this.#signal.throwIfAborted();
    this.last = result;
    const { finishReason, tokens } = result;
    if (finishReason === 'interrupted')
      this.tell(tokens.length === 0 ? '[stopped before a reply]' : '[stopped]');
    else if (finishReason === 'length') this.tell('[stopped at --max-tokens]');
    else process.stdout.write('\n');
  }
}

/** A reply on the terminal, thoughts apart from the rest. */
class ShownReply {
  readonly #signal: AbortSignal;
  readonly #wrap = new WordWrap(terminalWidth);
  #style: 'dim' | 'reset' = 'reset';
  #lineBegun = false;

  /** @param signal ends the waiting for a terminal that takes nothing */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async show({ text, thinking = '' }: ChatPart): Promise<void> {
    if (thinking !== '') await this.#write(thinking, 'dim');
    if (text !== '') await this.#write(text, 'reset');
  }

  /** Writes what was held back, and ends the line. */
  close(): void {
    process.stdout.write(this.#styled(this.#wrap.end()));
    if (this.#lineBegun) process.stdout.write(this.#wrap.push('\n'));
    this.#lineBegun = false;
  }

  async #write(text: string, style: 'dim' | 'reset'): Promise<void> {
    if (style !== this.#style) this.close();
    this.#style = style;
    this.#lineBegun = !text.endsWith('\n');
    await write(this.#styled(this.#wrap.push(printable(text))), this.#signal);
  }

  #styled(text: string): string {
    return this.#style === 'dim' && text !== '' ? styled('dim', text) : text;
  }
}
