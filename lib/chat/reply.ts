import type { Template } from './templates';
import { completionOf, withLast, type Completion, type GeneratedPart, type TokenLogprobs } from '../generate';
import { withoutPrototype } from '../options';
import { ReplyReader, type ReplyPiece } from './reply-reader';

/** What a reply delivers at a time. */
export interface ChatPart extends GeneratedPart {
  /** What the model says. White space before it is left out, and so are the marks of thoughts. */
  text: string;
  /** What the model thinks before it answers, for templates with thoughts. */
  thinking?: string;
}

/** A reply as a whole. */
export interface ChatCompletion extends Completion {
  /** All that the model thought before it answered, for templates with thoughts. */
  thinking?: string;
}

/** A reply while it comes. */
export class Reply {
  readonly #reader: ReplyReader;
  /** Of parts that had nothing to show: they go with the next one. */
  #tokens: number[] = [];
  #logprobs: TokenLogprobs[] = [];
  #thinking = '';
  #text = '';
  readonly #evaluated: number[] = [];

  constructor(template: Template) {
    this.#reader = new ReplyReader(template);
  }

  /** The parts of the reply, of those of its generation. Returns the last one instead of yielding it. */
  async *read(
    generation: AsyncGenerator<GeneratedPart, GeneratedPart, undefined>,
  ): AsyncGenerator<ChatPart, ChatPart, undefined> {
    for await (const each of withLast(generation)) {
      const part = withoutPrototype(each);
      for (const token of part.tokens) this.#evaluated.push(token);
      const piece = this.#add(this.#reader.push(part.text));
      if (part.finishReason !== undefined)
        return this.#part(part, joined(piece, this.#add(this.#reader.end())));
      const next = this.#part(part, piece);
      if (next.text !== '' || next.thinking !== undefined) yield next;
      else this.#hold(next);
    }
    throw new Error('a generation ended without its last part');
  }

  /** Takes what the session has evaluated beside the tokens of the parts. */
  pushRest(tokens: Uint32Array): void {
    for (const token of tokens) this.#evaluated.push(token);
  }

  /** What has come of the reply, and been evaluated by the session; to be asked for once, at the end. */
  content(): { reply: string; thinking: string | undefined; tokens: Uint32Array } {
    this.#add(this.#reader.end());
    return {
      reply: this.#text,
      thinking: this.#thinking.trim() === '' ? undefined : this.#thinking,
      tokens: Uint32Array.from(this.#evaluated),
    };
  }

  #add(piece: ReplyPiece): ReplyPiece {
    this.#thinking += piece.thinking;
    this.#text += piece.text;
    return piece;
  }

  #part(part: GeneratedPart, { text, thinking }: ReplyPiece): ChatPart {
    const tokens = [...this.#tokens, ...part.tokens];
    const { logprobs } = part;
    const all = logprobs === undefined ? {} : { logprobs: [...this.#logprobs, ...logprobs] };
    this.#tokens = [];
    this.#logprobs = [];
    return { ...part, tokens, ...all, text, ...(thinking === '' ? {} : { thinking }) };
  }

  #hold({ tokens, logprobs = [] }: ChatPart): void {
    this.#tokens = tokens;
    this.#logprobs = logprobs;
  }
}

function joined(a: ReplyPiece, b: ReplyPiece): ReplyPiece {
  return { thinking: a.thinking + b.thinking, text: a.text + b.text };
}

/** All parts of a reply as one. */
export function replyOf(parts: readonly ChatPart[], seed: bigint | undefined): ChatCompletion {
  const thinking = parts.map((part) => withoutPrototype(part).thinking ?? '').join('');
  return { ...completionOf(parts, seed), ...(thinking.trim() === '' ? {} : { thinking }) };
}
