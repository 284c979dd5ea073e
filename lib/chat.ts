import { Calls } from './chat/calls';
import { encodeChat } from './chat/file';
import {
  countingOf,
  withoutLastTurn,
  withoutStates,
  withStateBefore,
  withTurn,
  type History,
  type Turn,
} from './chat/history';
import {
  beginningText,
  cleanedUser,
  messagesOf,
  turnText,
  type Beginning,
  type ChatMessage,
} from './chat/messages';
import { replyOf, Reply, type ChatCompletion, type ChatPart } from './chat/reply';
import { nameOf, type Template } from './chat/templates';
import { checkConstruction, ownConstruction } from './construction';
import { WkvError } from './errors';
import { checkGenerateOptions, generate, type CheckedOptions, type GenerateOptions } from './generate';
import { iterateHeld, type Hold } from './generation/iterator';
import type { NativeRandom } from './native';
import { abortSignal, checkOptions, seed as checkSeed } from './options';
import { randomSeed } from './random';
import type { ForkOptions, Session } from './session';
import type { State } from './state';

/** What a chat consists of. */
interface ChatParts {
  session: Session;
  /** Whether the session is disposed with the chat. */
  owned: boolean;
  template: Template;
  beginning: Beginning;
  history: History;
  /** Whether the session is in the state after the history's last turn. */
  isAtEnd: boolean;
}

/** Where a reply begins. */
interface Start {
  before: State;
  /** The same, unless it is the state after the turn before. */
  base: State | undefined;
  random: NativeRandom;
  user: string;
  prompt: Uint32Array;
  /** Whether the session has evaluated the prompt. */
  evaluated: boolean;
}

/** Makes a reply, with options whose signal ends it. */
type ReplyParts = (options: CheckedOptions) => AsyncGenerator<ChatPart, ChatPart, undefined>;

/**
 * A conversation: a session whose text is written as a {@link Template} says. The session's state is at all times
 * the one after the conversation so far; a reply ends with its last delivered byte, and what separates it from the next
 * turn is evaluated with that. So going on never reads the conversation so far again, however long it is.
 */
export class Chat {
  readonly #session: Session;
  readonly #owned: boolean;
  readonly #template: Template;
  #beginning: Beginning;
  #history: History;
  /** The session's revision when it is in the state after the last turn. */
  #end: number | undefined;
  readonly #calls = new Calls();
  #disposed = false;

  /** Made by `model.createChat()`. */
  private constructor(own: typeof ownConstruction, parts: ChatParts) {
    checkConstruction(own, 'Chat', 'model.createChat() makes conversations');
    const { session, owned, template, beginning, history, isAtEnd } = parts;
    this.#session = session;
    this.#owned = owned;
    this.#template = template;
    this.#beginning = beginning;
    this.#history = history;
    this.#setEnd(isAtEnd);
  }

  /** @internal */
  static of(parts: ChatParts): Chat {
    return new Chat(ownConstruction, parts);
  }

  /**
   * The session that the conversation goes on in. What it sees besides becomes a part of the conversation. Its calls wait
   * for those of the chat, and are `ERR_WKV_BUSY` while a reply is iterated; it is the same the other way round.
   */
  get session(): Session {
    return this.#session;
  }

  /**
   * The strings that end a reply, unless a call has others: its template's, in a fresh array. To end a reply at one more,
   * give a call `stop: [...chat.stop, 'Observation:']`.
   */
  get stop(): string[] {
    return [...this.#template.stop];
  }

  /** The conversation so far: fresh objects. An exchange is added when the iteration of its reply ends. */
  get messages(): ChatMessage[] {
    const { system, exchanges } = this.#beginning;
    return messagesOf(system, [...exchanges, ...this.#history.turns]);
  }

  /** The last exchange that the session has evaluated since the beginning, with its tokens. @internal */
  get lastTurn(): Turn | undefined {
    return this.#history.turns.at(-1);
  }

  /**
   * Says something, and iterates over the reply: `for await (const part of chat.send('hi'))`. Options are those of
   * `session.generate`; `stop` is the chat's by default, which a call's own replaces. They are checked at the call, work
   * begins at the first `next()`. Blank lines, which separate turns, are taken out of the text (a template of your own says
   * what else is).
   *
   * If the text could not be evaluated (an abort, an error), the conversation is as it was. A reply that is left
   * (`break`) or aborted stays in the conversation as far as it came. While it is iterated, other calls are
   * `ERR_WKV_BUSY`; from the moment that it is left or aborted on, those that return promises wait for its end instead.
   *
   * @throws {TypeError} or {RangeError} for wrong options, or a text that is blank
   * @throws {WkvError} at a `next()`: `ERR_WKV_BUSY`, `ERR_WKV_DISPOSED`, and as {@link Session.generate}
   */
  send(text: string, options?: GenerateOptions): AsyncGenerator<ChatPart, void, undefined> {
    const user = cleanedUser(this.#template, text, 'text');
    const checked = this.#check(options);
    return this.#held(checked, true, (ending) => this.#say(user, ending));
  }

  /**
   * Says something like {@link Chat.send}, and returns the reply as a whole. One that is aborted stays in `messages`, as far
   * as it came, here too.
   *
   * @throws as {@link Chat.send}; everything rejects
   */
  async complete(text: string, options?: GenerateOptions): Promise<ChatCompletion> {
    const user = cleanedUser(this.#template, text, 'text');
    const checked = this.#check(options);
    const all: ChatPart[] = [];
    for await (const part of this.#held(checked, false, (ending) => this.#say(user, ending))) all.push(part);
    return replyOf(all, checked.seed ?? this.lastTurn?.random.seed);
  }

  /**
   * Replies once more to what was said last, in place of the reply that there is: with other random numbers, unless a
   * seed is given. That may have been in the messages with which the chat began. If it cannot begin, the conversation is
   * as it was; see {@link Chat.send} for the rest.
   *
   * @throws {TypeError} or {RangeError} for wrong options
   * @throws {WkvError} at a `next()`: `ERR_WKV_STATE` where nothing has been said, and as {@link Chat.send}
   */
  regenerate(options?: GenerateOptions): AsyncGenerator<ChatPart, void, undefined> {
    const checked = this.#check(options);
    const reseeded = { ...checked, seed: checked.seed ?? randomSeed() };
    return this.#held(reseeded, true, (ending) => this.#sayAgain(ending));
  }

  /**
   * Takes the last exchange back, which may be one of the messages with which the chat began: the session's state is
   * exactly the one before it, random numbers and counts of penalties included. The states before the last 8 exchanges
   * are kept; for earlier ones the conversation up to there is evaluated again, which takes its time. Where the signal
   * ends that, the promise rejects with the signal's reason, and the conversation is as it was.
   *
   * @throws {WkvError} `ERR_WKV_STATE` where nothing has been said; `ERR_WKV_BUSY`, `ERR_WKV_DISPOSED`, `ERR_WKV_MEMORY`,
   *   `ERR_WKV_DEVICE` where a GPU was lost
   * @throws {TypeError} for wrong options
   */
  async undo(options?: { signal?: AbortSignal | undefined }): Promise<void> {
    const checked = checkOptions<{ signal?: AbortSignal }>(options, { signal: abortSignal });
    const { hold, signal } = this.#begin(checked.signal, false);
    try {
      await hold.turn;
      if (this.#history.turns.length === 0) {
        this.#beginning = lastExchangeOf(this.#beginning).earlier;
        return;
      }
      const { history, before } = await withStateBefore(this.#history, this.#session.model, signal);
      signal.throwIfAborted();
      this.#session.restore(before);
      this.#setEnd(history.turns.at(-1)?.base === undefined);
      this.#history = withoutLastTurn(history);
    } finally {
      hold.release();
    }
  }

  /**
   * An independent conversation that has come as far as this one; it shares the memory of what both remember. With a
   * seed it goes on with random numbers of its own, without one with the same.
   *
   * @throws {WkvError} `ERR_WKV_BUSY` while a call has not ended, `ERR_WKV_DISPOSED`, `ERR_WKV_MEMORY`
   * @throws {TypeError} or {RangeError} for a wrong seed
   */
  fork(options?: ForkOptions): Chat {
    const { seed } = checkOptions<{ seed?: bigint }>(options, { seed: checkSeed });
    this.#requireIdle();
    const isAtEnd = this.#isAtEnd && this.#session.isIdle;
    const session = this.#session.fork({ seed });
    return new Chat(ownConstruction, {
      session,
      owned: true,
      template: this.#template,
      beginning: this.#beginning,
      history: this.#history,
      isAtEnd,
    });
  }

  /**
   * The conversation as bytes, in the format of docs/chat-format.md: `createChat({ saved })` of a model with the same
   * weights goes on with it, exactly. A template of the caller's own is not saved.
   *
   * @throws {WkvError} `ERR_WKV_BUSY` while a call of the chat or on its session has not ended, `ERR_WKV_DISPOSED`,
   *   `ERR_WKV_MEMORY`
   */
  serialize(): Uint8Array {
    this.#requireIdle();
    return encodeChat(this.#session.model, {
      template: nameOf(this.#template),
      beginning: this.#beginning,
      turns: this.#history.turns,
      state: this.#session.state,
    });
  }

  /**
   * Frees the state, unless the session was given to `createChat`: then that is its owner's to dispose. A pending call
   * rejects with `ERR_WKV_DISPOSED`, and so does the next `next()` of a reply that is iterated; a session that was given
   * is then in the state after the text that was delivered.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#calls.abort(disposed());
    this.#history = withoutStates(this.#history);
    if (this.#owned) this.#session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Options of a reply, with the template's stop strings where there are no others. */
  #check(options: unknown): CheckedOptions {
    return checkGenerateOptions(options, this.#session.model, this.#template.stop);
  }

  /** @param beginning what there is before the first turn, if this is the first: else it is in the session already */
  async *#say(
    user: string,
    options: CheckedOptions,
    beginning = this.#beginning,
  ): AsyncGenerator<ChatPart, ChatPart, undefined> {
    const state = this.#session.snapshot();
    const base = this.#isAtEnd ? undefined : state;
    const random = this.#session.native().random();
    const { system } = beginning;
    const { turns } = this.#history;
    const before = turns.length === 0 ? beginningText(this.#template, beginning) : this.#template.separator;
    const prompt = await this.#session.tokens(before + turnText(this.#template, user, system), 'text');
    const start = { before: state, base, random, user, prompt, evaluated: false };
    try {
      return yield* this.#reply(start, this.#history, options);
    } finally {
      if (start.evaluated) this.#beginning = beginning;
    }
  }

  async *#sayAgain(options: CheckedOptions): AsyncGenerator<ChatPart, ChatPart, undefined> {
    const last = this.#history.turns.at(-1);
    if (last === undefined) {
      const { user, earlier } = lastExchangeOf(this.#beginning);
      return yield* this.#say(user, options, earlier);
    }
    const after = this.#session.snapshot();
    const wasAtEnd = this.#isAtEnd;
    const { history, before } = await withStateBefore(this.#history, this.#session.model, options.signal);
    this.#session.restore(before);
    const { user, prompt, random, base } = last;
    const start = { before, base, random, user, prompt, evaluated: false };
    try {
      return yield* this.#reply(start, withoutLastTurn(history), options);
    } finally {
      if (!start.evaluated && !this.#session.isDisposed) {
        this.#session.restore(after);
        this.#setEnd(wasAtEnd);
      }
    }
  }

  /** A reply; the exchange becomes the last one of `history` as soon as the session has evaluated its prompt. */
  async *#reply(
    start: Start,
    history: History,
    options: CheckedOptions,
  ): AsyncGenerator<ChatPart, ChatPart, undefined> {
    const { before, base, random, user, prompt } = start;
    const { signal } = options;
    const reply = new Reply(this.#template);
    const onPrompt = (): void => {
      start.evaluated = true;
    };
    let isEnded = false;
    const onRest = (tokens: Uint32Array): void => {
      isEnded = true;
      reply.pushRest(tokens);
    };
    const generation = generate(this.#session, prompt, options, onPrompt, onRest);
    try {
      return yield* reply.read(generation);
    } catch (error) {
      if (this.#disposed) signal?.throwIfAborted();
      throw error;
    } finally {
      if (start.evaluated) {
        const content = reply.content();
        const turn: Turn = {
          user,
          ...content,
          prompt,
          random,
          counting: countingOf(options),
          base,
          end: before.tokens + prompt.length + content.tokens.length,
        };
        const longer = withTurn(history, turn, before);
        this.#history = this.#disposed ? withoutStates(longer) : longer;
        this.#setEnd(isEnded);
      }
    }
  }

  get #isAtEnd(): boolean {
    return this.#history.turns.length > 0 && this.#end === this.#session.revision;
  }

  #setEnd(isAtEnd: boolean): void {
    this.#end = isAtEnd ? this.#session.revision : undefined;
  }

  get #isDisposed(): boolean {
    return this.#disposed || this.#session.isDisposed;
  }

  /** For what needs the conversation as it is now. */
  #requireIdle(): void {
    if (this.#isDisposed) throw disposed();
    if (!this.#calls.isIdle) throw busy();
  }

  /** Begins a call, which waits for those that have been aborted or left. */
  #begin(signal: AbortSignal | undefined, isIterated: boolean): { hold: Hold; signal: AbortSignal } {
    if (this.#isDisposed) throw disposed();
    if (this.#calls.isBusy) throw busy();
    return this.#calls.begin(this.#session, signal, isIterated);
  }

  /** The parts of a reply that has the chat for itself from its first next() to its end. */
  #held(
    options: CheckedOptions,
    isIterated: boolean,
    begin: ReplyParts,
  ): AsyncGenerator<ChatPart, void, undefined> {
    return iterateHeld((left) => {
      const { hold, signal } = this.#begin(options.signal, isIterated);
      return { hold, signal, parts: begin({ ...options, signal, left }) };
    });
  }
}

/**
 * What was said last in a beginning, and what there is before it.
 *
 * @throws {WkvError} `ERR_WKV_STATE` where there is no exchange
 */
function lastExchangeOf(beginning: Beginning): { user: string; earlier: Beginning } {
  const last = beginning.exchanges.at(-1);
  if (last === undefined) throw new WkvError('ERR_WKV_STATE', 'nothing has been said in this chat yet');
  return { user: last.user, earlier: { ...beginning, exchanges: beginning.exchanges.slice(0, -1) } };
}

function busy(): WkvError {
  return new WkvError('ERR_WKV_BUSY', "the chat's last call has not ended");
}

function disposed(): WkvError {
  return new WkvError('ERR_WKV_DISPOSED', 'the chat has been disposed');
}
