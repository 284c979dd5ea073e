import type { ParsedVocabulary } from '../vocabulary';
import { corrupt } from './failures';
import { Cursor, GgufArray, type GgufHeader, type GgufValue } from './gguf-header';
import { quoted } from '../quoted';

/** More than any vocabulary has, as of vocabulary files. */
const maxTokens = 1_000_001;
/** The types of tokens that stand for text: normal, defined by the user, single bytes. */
const textTypes: ReadonlySet<number> = new Set([1, 4, 6]);

const backslash = 0x5c;
const letterX = 0x78;
/** Escapes of one letter, and the bytes that they stand for. */
const escapes: ReadonlyMap<number, number> = new Map([
  [0x74 /* t */, 0x09],
  [0x6e /* n */, 0x0a],
  [0x72 /* r */, 0x0d],
  [backslash, backslash],
  [0x27 /* ' */, 0x27],
  [0x22 /* " */, 0x22],
]);

/**
 * The vocabulary of a GGUF file whose tokenizer is RWKV's: tokens are written like Python's bytes there. Tokens that are
 * not text (controls, and ids that are not used) have no bytes; without types of tokens that is id 0 alone.
 *
 * @param bytes the header
 * @returns nothing where the file has no tokenizer, or another one
 */
export function readGgufVocabulary(
  { metadata }: GgufHeader,
  bytes: Buffer,
  path: string,
): (ParsedVocabulary & { endOfText: number }) | undefined {
  if (metadata.get('tokenizer.ggml.model') !== 'rwkv') return undefined;
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (!(tokens instanceof GgufArray) || tokens.elements !== 'string' || tokens.count > maxTokens) {
    throw corrupt(path, 'tokenizer.ggml.tokens is no vocabulary', {
      expected: `up to ${maxTokens} strings`,
    });
  }
  const isText = textTokens(metadata.get('tokenizer.ggml.token_type'), tokens.count, bytes, path);
  const cursor = new Cursor(bytes, bytes.length, path, tokens.offset);
  /** No token has more bytes than its text. */
  const data = new Uint8Array(tokens.end - tokens.offset);
  const offsets = new Uint32Array(tokens.count + 1);
  let length = 0;
  for (let id = 0; id < tokens.count; id++) {
    const text = cursor.text('a token');
    if (isText(id)) length = unescape(text, data, length, id, path);
    offsets[id + 1] = length;
  }
  const endOfText = endOf(metadata.get('tokenizer.ggml.eos_token_id'), tokens.count, isText, path);
  return { bytes: data.slice(0, length), offsets, size: tokens.count, endOfText };
}

function textTokens(
  types: GgufValue | undefined,
  count: number,
  bytes: Buffer,
  path: string,
): (id: number) => boolean {
  if (types === undefined) return (id) => id !== 0;
  if (!(types instanceof GgufArray) || types.elements !== 'int32' || types.count !== count) {
    throw corrupt(path, 'tokenizer.ggml.token_type does not fit the tokens', {
      expected: `${count} numbers (int32)`,
    });
  }
  return (id) => textTypes.has(bytes.readInt32LE(types.offset + 4 * id));
}

/**
 * The token that ends a text. Until May 2025 llama.cpp's converter took it from config.json, where the models of
 * flash-linear-attention have fla's default, 2: a byte of text (ggml-org/llama.cpp, pull request 13844). Of World models it
 * is id 0, so that one counts where the file names a text and id 0 is none.
 */
function endOf(
  id: GgufValue | undefined,
  count: number,
  isText: (id: number) => boolean,
  path: string,
): number {
  if (id === undefined) return 0;
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= count) {
    throw corrupt(path, 'tokenizer.ggml.eos_token_id is no token', { expected: `an id below ${count}` });
  }
  return isText(id) && !isText(0) ? 0 : id;
}

/** Puts the bytes of a token at `start`, and returns where they end. What is not escaped stands for itself. */
function unescape(text: Buffer, data: Uint8Array, start: number, id: number, path: string): number {
  let end = start;
  for (let i = 0; i < text.length; i++) {
    const byte = text.readUInt8(i);
    if (byte !== backslash) {
      data[end++] = byte;
      continue;
    }
    i += 1;
    const letter = i < text.length ? text.readUInt8(i) : -1;
    const digits = letter === letterX ? text.toString('latin1', i + 1, i + 3) : '';
    const value = /^[0-9a-fA-F]{2}$/.test(digits) ? Number.parseInt(digits, 16) : escapes.get(letter);
    if (value === undefined) {
      throw corrupt(path, `the token ${id} has an escape that means nothing`, {
        expected: '\\xHH, \\t, \\n, \\r, \\\\, \\\' or \\"',
        found: quoted(text.toString('latin1', i - 1, i + 3)),
      });
    }
    if (letter === letterX) i += 2;
    data[end++] = value;
  }
  return end;
}
