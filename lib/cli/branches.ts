import type { Chat } from '../chat';

/** Conversations that are kept beside each other, by number; one of them is had at the time. */
export class Branches {
  readonly #chats: Chat[];
  #current = 0;

  constructor(chat: Chat) {
    this.#chats = [chat];
  }

  /** The conversation that is had. */
  get chat(): Chat {
    const chat = this.#chats[this.#current];
    if (chat === undefined) throw new Error(`there is no conversation ${this.#current + 1}`);
    return chat;
  }

  /** The number of the conversation that is had; they count from 1. */
  get current(): number {
    return this.#current + 1;
  }

  get all(): readonly Chat[] {
    return this.#chats;
  }

  /** Keeps the conversation as it is, and goes on in a copy of it. */
  fork(seed: bigint): void {
    this.#chats.push(this.chat.fork({ seed }));
    this.#current = this.#chats.length - 1;
  }

  /** Goes on in another conversation; says whether there is one of this number. */
  switchTo(number: number): boolean {
    if (this.#chats[number - 1] === undefined) return false;
    this.#current = number - 1;
    return true;
  }

  /** Goes on in this conversation, in the place of the one that is had if nothing has been said in that. */
  add(chat: Chat): void {
    if (this.chat.messages.some(({ role }) => role === 'user')) {
      this.#chats.push(chat);
      this.#current = this.#chats.length - 1;
    } else {
      this.chat.dispose();
      this.#chats[this.#current] = chat;
    }
  }
}
