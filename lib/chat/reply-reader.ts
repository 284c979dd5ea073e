import type { Template } from './templates';

/** A piece of a reply. */
export interface ReplyPiece {
  /** What the model thinks, between the marks. */
  thinking: string;
  /** What it says, without the white space at the beginning. */
  text: string;
}

type Place = 'mark' | 'beginning' | 'thoughts' | 'text';

/** Tells a model's thoughts from its answer, while a reply comes piece by piece. */
export class ReplyReader {
  readonly #begin: string;
  readonly #end: string;
  #place: Place = 'text';
  /** What is missing of the mark that the template's opening ends inside, and what comes after it. */
  #rest = '';
  #afterRest: Place = 'text';
  /** What could be the beginning of a mark. */
  #held = '';
  #started = false;

  constructor({ thinking, opening = '' }: Template) {
    this.#begin = thinking?.begin ?? '';
    this.#end = thinking?.end ?? '';
    if (thinking !== undefined) this.#startIn(opening.trimStart());
  }

  /** Takes text, and returns what is known of it. */
  push(text: string): ReplyPiece {
    this.#held += text;
    return this.#read(false);
  }

  /** Ends the reply: returns what was held back. */
  end(): ReplyPiece {
    return this.#read(true);
  }

  #startIn(opening: string): void {
    if (opening === '') {
      this.#place = 'beginning';
    } else if (this.#begin.startsWith(opening)) {
      this.#completeMark(this.#begin.slice(opening.length), 'thoughts');
    } else if (opening.startsWith(this.#begin)) {
      const thoughts = opening.slice(this.#begin.length);
      if (thoughts.includes(this.#end)) return;
      const begun = lengthOfBeginning(thoughts, this.#end);
      if (begun > 0) this.#completeMark(this.#end.slice(begun), 'text');
      else this.#place = 'thoughts';
    }
  }

  #completeMark(rest: string, then: Place): void {
    this.#place = 'mark';
    this.#rest = rest;
    this.#afterRest = then;
  }

  #read(final: boolean): ReplyPiece {
    let thinking = '';
    if (this.#place === 'mark') {
      // A model that does not complete the mark goes on all the same.
      if (this.#held.startsWith(this.#rest)) this.#held = this.#held.slice(this.#rest.length);
      else if (!final && this.#rest.startsWith(this.#held)) return { thinking: '', text: '' };
      this.#place = this.#afterRest;
    }
    if (this.#place === 'beginning') {
      const begun = this.#held.trimStart();
      if (begun.startsWith(this.#begin)) {
        this.#held = begun.slice(this.#begin.length);
        this.#place = 'thoughts';
      } else if (!final && this.#begin.startsWith(begun)) {
        return { thinking: '', text: '' };
      } else {
        this.#place = 'text';
      }
    }
    if (this.#place === 'thoughts') {
      const end = this.#held.indexOf(this.#end);
      const held = final ? 0 : lengthOfBeginning(this.#held, this.#end);
      thinking = this.#take(end < 0 ? this.#held.length - held : end);
      if (end < 0) return { thinking, text: '' };
      this.#held = this.#held.slice(this.#end.length);
      this.#place = 'text';
    }
    if (!this.#started) this.#held = this.#held.trimStart();
    this.#started ||= this.#held !== '';
    return { thinking, text: this.#take(this.#held.length) };
  }

  #take(length: number): string {
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return taken;
  }
}

/** The length of the longest beginning of `mark`, not all of it, that `text` ends with. */
function lengthOfBeginning(text: string, mark: string): number {
  for (let length = Math.min(text.length, mark.length - 1); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}
