// Text that others wrote, on its way into a conversation whose turns end at a blank line: none may look like one.

/** All line breaks that there are, those of Unicode included. */
const lineBreak = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/;

/** White space, controls, and characters without a shape: a line of them looks blank. */
const blank = String.raw`[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]*`;
const blankLine = new RegExp(`^${blank}$`, 'u');

/**
 * The text without blank lines, and without white space around it: what ChatRWKV makes of a user's text, but for all
 * line breaks, and for lines that only look blank.
 */
export function withoutBlankLines(text: string): string {
  const lines = text.split(lineBreak).filter((line) => !blankLine.test(line));
  return lines.join('\n').trim();
}

/** The text without blank lines and white space at its beginning and end. */
export function trimmed(text: string): string {
  const lines = text.split(lineBreak);
  const first = lines.findIndex((line) => !blankLine.test(line));
  const last = lines.findLastIndex((line) => !blankLine.test(line));
  return first < 0
    ? ''
    : lines
        .slice(first, last + 1)
        .join('\n')
        .trim();
}

/** Makes a function that takes the blank lines out of a text that stand before one of the words and a colon. */
export function withoutTurns(...words: readonly string[]): (text: string) => string {
  const turn = new RegExp(`^${blank}(?:${words.join('|')})${blank}:`, 'iu');
  return (text) => {
    const lines: string[] = [];
    for (const line of text.split(lineBreak)) {
      if (turn.test(line)) {
        while (lines.length > 0 && blankLine.test(lines.at(-1) ?? '')) lines.pop();
      }
      lines.push(line);
    }
    return lines.join('\n');
  };
}
