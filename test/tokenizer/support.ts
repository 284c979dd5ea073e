import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { Tokenizer, worldVocabularyName, worldVocabularyPath } from '../../lib/tokenizer';
import { describeUnless } from '../support/unless';

/** The text of the World vocabulary, where this machine has it: in the package or beside the checkout. */
export const worldText = findWorldText();

function findWorldText(): Buffer | undefined {
  const beside = resolve(__dirname, '../../../shared/vocabulary', worldVocabularyName);
  if (existsSync(worldVocabularyPath)) return brotliDecompressSync(readFileSync(worldVocabularyPath));
  return existsSync(beside) ? readFileSync(beside) : undefined;
}

/** `describe` where the World vocabulary is, which it hands on. */
export function describeWithWorld(name: string, body: (world: Tokenizer) => void): void {
  const absent = worldText === undefined && `${worldVocabularyName} is absent (npm run vocabulary gets it)`;
  describeUnless(absent)(name, () => body(tokenizerOf(worldText!)));
}

/** Random numbers that are the same at every run (xorshift32). */
export class Random {
  constructor(private state: number) {}

  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % limit;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** Runs with an empty directory that is removed afterwards. */
export function withDirectory(use: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'wkv-tokenizer-'));
  try {
    use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The tokenizer of a vocabulary file with this content. */
export function tokenizerOf(content: string | Uint8Array): Tokenizer {
  let tokenizer: Tokenizer | undefined;
  withDirectory((directory) => {
    const path = join(directory, 'vocabulary.txt');
    writeFileSync(path, content);
    tokenizer = Tokenizer.fromVocabulary(path);
  });
  return tokenizer!;
}

/**
 * The tokens of a vocabulary's text, as latin1 strings of their bytes, and their ids: a second, minimal reader, so
 * that a mistake in the package's own cannot hide.
 */
export function readTokens(text: Uint8Array): Map<string, number> {
  const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '\\': '\\', "'": "'", '"': '"' };
  const tokens = new Map<string, number>();
  for (const line of Buffer.from(text).toString('utf8').trimEnd().split('\n')) {
    const [, id, isBytes, , literal] = /^(\d+) (b?)(['"])(.*)\3 \d+\r?$/su.exec(line)!;
    const text = literal!.replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))/gu, (_, x, u, letter) =>
      letter === undefined ? String.fromCharCode(parseInt(String(x ?? u), 16)) : escapes[String(letter)]!,
    );
    tokens.set(Buffer.from(text, isBytes === 'b' ? 'latin1' : 'utf8').toString('latin1'), Number(id));
  }
  return tokens;
}

/** The definition of the encoding, with nothing clever about it: try every length from the longest down. */
export function encodeNaively(tokens: Map<string, number>, text: Uint8Array): number[] {
  const longest = [...tokens.keys()].reduce((most, token) => Math.max(most, token.length), 0);
  const bytes = Buffer.from(text).toString('latin1');
  const ids: number[] = [];
  for (let position = 0; position < bytes.length;) {
    let length = Math.min(longest, bytes.length - position);
    while (!tokens.has(bytes.slice(position, position + length))) length -= 1;
    ids.push(tokens.get(bytes.slice(position, position + length))!);
    position += length;
  }
  return ids;
}
