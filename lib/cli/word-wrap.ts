import { stripVTControlCharacters } from 'node:util';

/**
 * Characters of East Asian scripts and emoji, which take two columns (Unicode's UAX 11 and UTS 51, roughly). A flag is two
 * letters, of which each takes one.
 */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]|(?!\p{Regional_Indicator})\p{Emoji_Presentation}/u;
/** What takes no column of its own: marks, joiners, selectors, later letters of a syllable of Hangul, the tones of skin. */
const joined =
  /\p{Mn}|\p{Me}|[\u1160-\u11ff\ud7b0-\ud7fb\u200b-\u200d\u2060]|[\ufe00-\ufe0e]|\p{Emoji_Modifier}/u;
/** Asks for an emoji where there is a letter by default: that takes one column more. */
const emojiSelector = '\ufe0f';
const joiner = '\u200d';
/** Scripts whose text may go on in a new line after any letter. */
const ideograph = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u;
/** What does not begin a line. */
const closing = /[\p{Pe}\p{Pf}\p{Po}]/u;

/** How many columns of a terminal a text takes, as far as terminals agree; its colors take none. */
export function columnsOf(text: string): number {
  let columns = 0;
  let previous = '';
  for (const character of stripVTControlCharacters(text)) {
    if (character === emojiSelector) columns += wide.test(previous) ? 0 : 1;
    else if (previous !== joiner && !joined.test(character)) columns += wide.test(character) ? 2 : 1;
    previous = character;
  }
  return columns;
}

/** The columns that text may have at the terminal; where terminals disagree on the width of an emoji, one in reserve helps. */
export const terminalWidth = (): number => (process.stdout.columns > 0 ? process.stdout.columns : 80) - 1;

/** A text for the terminal, its lines broken between words. */
export function wrapped(text: string): string {
  const wrap = new WordWrap(terminalWidth);
  return wrap.push(text) + wrap.end();
}

/** Breaks the lines of a text that comes in pieces between words. A word is held back until it is complete. */
export class WordWrap {
  readonly #width: () => number;
  #column = 0;
  #spaces = '';
  #word = '';
  /** The last character of the word. */
  #last = '';

  /** @param width how many columns there are; it may change */
  constructor(width: () => number) {
    this.#width = width;
  }

  /** Takes text, and returns what is to be written of it. */
  push(text: string): string {
    let out = '';
    for (const character of text) {
      if (character === '\n') {
        out += `${this.end()}\n`;
        this.#column = 0;
      } else if (character === ' ') {
        out += this.#endWord();
        this.#spaces += character;
      } else {
        if (this.#mayBreakBefore(character)) out += this.#endWord();
        this.#word += character;
        this.#last = character;
      }
    }
    return out;
  }

  /** The rest, at the end of a text or a line. */
  end(): string {
    const rest = this.#endWord() + this.#spaces;
    this.#spaces = '';
    return rest;
  }

  #mayBreakBefore(character: string): boolean {
    const last = this.#last;
    const between =
      ideograph.test(character) || ideograph.test(last) || (closing.test(last) && wide.test(last));
    return between && !closing.test(character) && columnsOf(character) > 0 && last !== joiner;
  }

  #endWord(): string {
    if (this.#word === '') return '';
    const columns = columnsOf(this.#word);
    const fits = this.#column + this.#spaces.length + columns <= this.#width();
    const before = fits || this.#column === 0 ? this.#spaces : '\n';
    this.#column = (before === '\n' ? 0 : this.#column + before.length) + columns;
    const written = before + this.#word;
    this.#spaces = '';
    this.#word = '';
    this.#last = '';
    return written;
  }
}
