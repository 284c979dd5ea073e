import { spawnSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Tokenizer } from '../../lib/tokenizer';
import { onWindows, unless } from '../support/unless';
import { callUnchecked, thrown } from '../support/failure';
import { tokenizerOf, withDirectory } from './support';

/** The bytes of the only token, id 1, whose literal and length this is, in hexadecimal. */
function bytesOf(literal: string, length: number): string {
  return Buffer.from(tokenizerOf(`1 ${literal} ${length}\n`).decodeBytes([1])).toString('hex');
}

describe('a vocabulary file', () => {
  test.each([
    [`'a'`, 1, '61'],
    [`"it's"`, 4, '69742773'],
    [`' 5 '`, 3, '203520'],
    [String.raw`'\n\r\t\\\'\"'`, 6, '0a0d095c2722'],
    [String.raw`'\x00\x7f'`, 2, '007f'],
    [String.raw`'\x80\xff'`, 4, 'c280c3bf'],
    [String.raw`'\xAd'`, 2, 'c2ad'],
    [String.raw`'\u00e9\u3000\ufeff'`, 8, 'c3a9e38080efbbbf'],
    [String.raw`'\U0001f600\U00000041'`, 5, 'f09f988041'],
    [`'é日😀'`, 9, 'c3a9e697a5f09f9880'],
    [String.raw`b'\x80\xff'`, 2, '80ff'],
    [String.raw`b"a'\\\n"`, 4, '61275c0a'],
  ])('has the literal %s for %i bytes: %s', (literal, length, hexadecimal) => {
    expect(bytesOf(literal, length)).toBe(hexadecimal);
  });

  test('may end its lines with CRLF, and its last line with nothing', () => {
    const tokenizer = tokenizerOf("1 'a' 1\r\n2 'b' 1\r\n3 'ab' 2");
    expect(Array.from(tokenizer.encode('abba'))).toEqual([3, 2, 1]);
  });

  test('may have its ids in any order and with gaps; ids between have no bytes', () => {
    const tokenizer = tokenizerOf("7 'b' 1\n3 'a' 1\n");
    expect(tokenizer.size).toBe(8);
    expect(Array.from(tokenizer.encode('ab'))).toEqual([3, 7]);
    expect(tokenizer.decode([0, 1, 7, 5, 3])).toBe('ba');
  });

  test('may have tokens of 256 bytes and the id 1000000', () => {
    const tokenizer = tokenizerOf(`1000000 '${'x'.repeat(256)}' 256\n`);
    expect(tokenizer.size).toBe(1_000_001);
    expect(Array.from(tokenizer.encode('x'.repeat(512)))).toEqual([1_000_000, 1_000_000]);
  });

  test('may begin with a byte order mark and end with empty lines, as editors leave them', () => {
    for (const text of ["\uFEFF1 'a' 1\n", "1 'a' 1\n\n", "1 'a' 1\r\n\r\n\n", "1 'a' 1"]) {
      expect(Array.from(tokenizerOf(text).encode('aa'))).toEqual([1, 1]);
    }
  });

  test('is found by its path or its file URL', () => {
    withDirectory((directory) => {
      const path = join(directory, 'a b.txt');
      writeFileSync(path, "1 'a' 1\n");
      expect(Tokenizer.fromVocabulary(path).size).toBe(2);
      expect(Tokenizer.fromVocabulary(pathToFileURL(path)).size).toBe(2);
    });
  });

  test('that lacks a byte encodes texts without it and refuses others, naming byte and offset', () => {
    const tokenizer = tokenizerOf("1 'a' 1\n2 'bc' 2\n");
    expect(Array.from(tokenizer.encode('abca'))).toEqual([1, 2, 1]);
    expect(thrown(() => tokenizer.encode('abcaé'))).toMatchObject({
      name: 'WkvError',
      code: 'ERR_WKV_TOKEN',
      message: 'no token of the vocabulary begins with byte 0xc3, at offset 4 of the text',
    });
  });
});

describe('a file that is no vocabulary is refused', () => {
  const lines = "1 'a' 1\n2 'b' 1\n";

  test.each([
    ['an empty line', `${lines}\n3 'c' 1\n`, 3],
    ['a line of one word', `${lines}3\n`, 3],
    ['a line of two words', `${lines}3 'c'\n`, 3],
    ['no id', `${lines} 'c' 1\n`, 3],
    ['the id 0', `${lines}0 'c' 1\n`, 3],
    ['an id of more than a million', `${lines}1000001 'c' 1\n`, 3],
    ['an id with a sign', `${lines}-3 'c' 1\n`, 3],
    ['an id with a leading zero', `${lines}03 'c' 1\n`, 3],
    ['an id that is no number', `${lines}__proto__ 'c' 1\n`, 3],
    ['an id of a thousand digits', `${lines}${'9'.repeat(1000)} 'c' 1\n`, 3],
    ['an id of an earlier line', `${lines}1 'c' 1\n`, 3],
    ['no length', `${lines}3 'c' \n`, 3],
    ['a length that is too short', `${lines}3 'cd' 1\n`, 3],
    ['a length that is too long', `${lines}3 'cd' 3\n`, 3],
    ['a token without bytes', `${lines}3 '' 0\n`, 3],
    ['a token of more than 256 bytes', `${lines}3 '${'c'.repeat(257)}' 257\n`, 3],
    ['a literal without quotes', `${lines}3 c 1\n`, 3],
    ['a literal of one quote', `${lines}3 ' 1\n`, 3],
    ['a literal that is not closed', `${lines}3 'c 1\n`, 3],
    ['quotes that differ', `${lines}3 'c" 1\n`, 3],
    ['a bare quote', `${lines}3 'c'd' 3\n`, 3],
    ['text after the literal', `${lines}3 'c'd 1\n`, 3],
    ['a literal with another prefix', `${lines}3 r'c' 1\n`, 3],
    ['a bare control character', `${lines}3 '\u0001' 1\n`, 3],
    ['a bare tab', `${lines}3 '\t' 1\n`, 3],
    ['a closing quote that is escaped', `${lines}3 'c\\' 1\n`, 3],
    ['an escape of too few digits', `${lines}3 '\\x1' 1\n`, 3],
    ['an escape of no digits', `${lines}3 '\\u00g0' 1\n`, 3],
    ['an unknown escape', `${lines}3 '\\a' 1\n`, 3],
    ['an octal escape', `${lines}3 '\\0' 1\n`, 3],
    ['a named character', `${lines}3 '\\N{SPACE}' 1\n`, 3],
    ['a surrogate', `${lines}3 '\\ud800' 3\n`, 3],
    ['a pair of surrogates', `${lines}3 '\\ud83d\\ude00' 4\n`, 3],
    ['a character past U+10FFFF', `${lines}3 '\\U00110000' 4\n`, 3],
    ['a character in a bytes literal', `${lines}3 b'é' 2\n`, 3],
    ['a character escape in a bytes literal', `${lines}3 b'\\u0041' 1\n`, 3],
    ['a line end in the middle of a literal', `${lines}3 'c\nd' 3\n`, 3],
    ['NUL', '\0'.repeat(100), 1],
    ['other text', '{"tokens": []}', 1],
  ])('%s, naming the line', (_what, content, line) => {
    const error = thrown(() => tokenizerOf(content));
    expect(error).toMatchObject({ name: 'WkvError', code: 'ERR_WKV_FORMAT' });
    const { path, message } = error as { path: string; message: string };
    expect(message).toMatch(`${path}, line ${line}: expected `);
    expect(message.length).toBeLessThan(500);
  });

  test.each([
    ['an empty file', ''],
    ['bytes that are no UTF-8', Buffer.from("1 'a' 1\n2 '\xff' 1\n", 'latin1')],
    ['tokens that are equal', "1 'a' 1\n2 'b' 1\n3 '\\x61' 1\n"],
  ])('%s, naming the file', (_what, content) => {
    const error = thrown(() => tokenizerOf(content));
    expect(error).toMatchObject({ name: 'WkvError', code: 'ERR_WKV_FORMAT' });
    const { path, message } = error as { path: string; message: string };
    expect(message).toContain(path);
  });

  test('shows nothing of it that a terminal would obey, or that turns text around', () => {
    const error = thrown(() => tokenizerOf('1 \u202e\u2028\u009b 1\n'));
    expect(error).toMatchObject({ found: String.raw`"\u202e\u2028\u009b"` });
  });

  test('says which ids have equal tokens', () => {
    expect(() => tokenizerOf("1 'a' 1\n5 'b' 1\n9 'a' 1\n")).toThrow('tokens 1 and 9 have the same bytes');
  });

  test('every file that is a true beginning of a line of a good one', () => {
    const line = String.raw`12 'a\x41\u00e9 b' 6`;
    expect(tokenizerOf(line).size).toBe(13);
    for (let length = 1; length < line.length; length++) {
      expect(thrown(() => tokenizerOf(line.slice(0, length)))).toMatchObject({ code: 'ERR_WKV_FORMAT' });
    }
  });

  test('a file that is too large, before it is read', () => {
    withDirectory((directory) => {
      const path = join(directory, 'large.txt');
      writeFileSync(path, '');
      truncateSync(path, 2 ** 40); // of no blocks on the disk
      expect(thrown(() => Tokenizer.fromVocabulary(path))).toMatchObject({
        code: 'ERR_WKV_FORMAT',
        path,
        found: `${2 ** 40} bytes`,
      });
    });
  });

  test('a directory', () => {
    withDirectory((directory) => {
      const path = join(directory, 'directory');
      mkdirSync(path);
      expect(thrown(() => Tokenizer.fromVocabulary(path))).toMatchObject({
        code: expect.stringMatching(/^(ERR_WKV_FORMAT|EISDIR|EPERM)$/) as string,
      });
    });
  });

  unless(onWindows('there are no named pipes in the file system there'))(
    'a named pipe that nobody writes to, without waiting',
    () => {
      withDirectory((directory) => {
        const path = join(directory, 'pipe');
        expect(spawnSync('mkfifo', [path]).status).toBe(0);
        expect(thrown(() => Tokenizer.fromVocabulary(path))).toMatchObject({
          code: 'ERR_WKV_FORMAT',
          path,
        });
      });
    },
  );

  test("a file that does not exist, with the system's own error", () => {
    expect(thrown(() => Tokenizer.fromVocabulary('/nowhere/vocabulary.txt'))).toMatchObject({
      code: 'ENOENT',
    });
  });

  test.each([[undefined], [null], [1], [{}]])('%p is no path', (path) => {
    expect(thrown(() => callUnchecked(Tokenizer, 'fromVocabulary', [path]))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
});
