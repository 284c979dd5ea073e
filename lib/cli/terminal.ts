import { TextDecoder, styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

// Controls except tab and newline, and what turns the direction of a whole line around.
// eslint-disable-next-line no-control-regex -- to find them is the purpose
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text from a model or a file as it may go to a terminal: nothing in it is a command to the terminal. */
export function printable(text: string): string {
  return text.replace(controls, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${hexadecimal(code, 2)}` : `\\u${hexadecimal(code, 4)}`;
  });
}

function hexadecimal(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** Bytes on one line, in double quotes: characters as they are, controls and what is no UTF-8 escaped. */
export function escaped(bytes: Uint8Array): string {
  const names: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r', '"': '\\"' };
  let result = '';
  for (let position = 0; position < bytes.length;) {
    const character = characterAt(bytes, position);
    if (character === undefined) {
      result += `\\x${hexadecimal(bytes[position] ?? 0, 2)}`;
      position += 1;
    } else {
      result += character === '\\' ? '\\\\' : (names[character] ?? printable(character));
      position += Buffer.byteLength(character);
    }
  }
  return `"${result}"`;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The UTF-8 character that begins at `position`, if one does. */
function characterAt(bytes: Uint8Array, position: number): string | undefined {
  const lead = bytes[position] ?? 0;
  const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  try {
    return strict.decode(bytes.subarray(position, position + length));
  } catch {
    return undefined; // what the decoder refuses is no character
  }
}

/** Colors and weight of letters, where standard output is a terminal that has them (and NO_COLOR is not set). */
export function styled(style: Style, text: string): string {
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(style, text) : text;
}

/** Lines of `label  value`, values aligned. */
export function table(rows: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${styled('dim', label.padEnd(width))}  ${value}\n`).join('');
}

/** 7518044160 as '7,518,044,160', wherever the computer stands. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** One object on one line. */
export function formatJson(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
