/** Characters that could make a terminal or a reader see something else than what is there. */
const misleading = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Text out of a file, made fit for a message: quoted, control characters escaped, shortened. */
export function quoted(text: string): string {
  return JSON.stringify(shortened(text)).replace(misleading, (character) =>
    character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

/** Text out of a file, shortened. */
export function shortened(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
