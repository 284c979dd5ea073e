import { inspect } from 'node:util';
import { Tokenizer } from '../../lib/tokenizer';
import { callUnchecked, thrown } from '../support/failure';
import { Random } from './support';

describe('the tokenizer of bytes', () => {
  const tokenizer = Tokenizer.bytes();

  test('has 256 ids, of which 0 ends a text', () => {
    expect(tokenizer.size).toBe(256);
    expect(tokenizer.endOfText).toBe(0);
  });

  test('shows a console and JSON what it is, and not all of its tokens', () => {
    expect(JSON.stringify(tokenizer)).toBe('{"size":256,"endOfText":0}');
    expect(inspect(tokenizer)).toBe('Tokenizer { size: 256, endOfText: 0 }');
  });

  test('has the value of a byte as its id', () => {
    const all = Array.from({ length: 256 }, (_, value) => value);
    expect(Array.from(tokenizer.encode(Uint8Array.from(all)))).toEqual(all);
    expect(Array.from(tokenizer.decodeBytes(all))).toEqual(all);
  });

  test('encodes a string as its UTF-8', () => {
    expect(Array.from(tokenizer.encode('aé\0😀'))).toEqual([0x61, 0xc3, 0xa9, 0, 0xf0, 0x9f, 0x98, 0x80]);
  });

  test('encodes nothing to nothing', () => {
    expect(tokenizer.encode('')).toHaveLength(0);
    expect(tokenizer.encode(new Uint8Array(0))).toHaveLength(0);
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decodeBytes(new Uint32Array(0))).toHaveLength(0);
  });

  test('gives back the bytes of 5000 random byte strings', () => {
    const random = new Random(3);
    const wrong: Uint8Array[] = [];
    for (let round = 0; round < 5000; round++) {
      const bytes = random.bytes(random.below(200));
      if (Buffer.compare(tokenizer.decodeBytes(tokenizer.encode(bytes)), bytes) !== 0) wrong.push(bytes);
    }
    expect(wrong).toEqual([]);
  });

  test('decodes what is no UTF-8 to U+FFFD for each maximal part, as the Encoding Standard says', () => {
    // The examples of the Unicode Standard, section 3.9, table 3-8 and 3-11.
    expect(tokenizer.decode([0xc0, 0xaf, 0xe0, 0x80, 0xbf, 0xf0, 0x81, 0x82, 0x41])).toBe(
      '\ufffd'.repeat(8) + 'A',
    );
    expect(tokenizer.decode([0xe1, 0x80, 0xe2, 0xf0, 0x91, 0x92, 0xf1, 0xbf, 0x41])).toBe(
      '\ufffd'.repeat(4) + 'A',
    );
  });
});

describe('what a tokenizer returns and takes', () => {
  const tokenizer = Tokenizer.bytes();

  test('is in arrays of its own', () => {
    const ids = tokenizer.encode('abc');
    expect(ids.byteOffset).toBe(0);
    expect(ids.buffer.byteLength).toBe(12);
    const bytes = tokenizer.decodeBytes(ids);
    expect(bytes.buffer.byteLength).toBe(3);
    bytes.fill(0);
    ids.fill(0);
    expect(tokenizer.decode(tokenizer.encode('abc'))).toBe('abc');
  });

  test.each([
    [undefined],
    [null],
    [1],
    [['a']],
    [new Uint16Array(2)],
    [new ArrayBuffer(2)],
    [new DataView(new ArrayBuffer(2))],
  ])('is no text: %p', (text) => {
    expect(thrown(() => callUnchecked(tokenizer, 'encode', [text]))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  test.each([
    [undefined],
    [null],
    [1],
    ['abc'],
    [new Uint8Array(2)],
    [{ length: 1, 0: 1 }],
    [['1']],
    [[null]],
    [[1n]],
    [new Array(1)],
  ])('is no list of tokens: %p', (tokens) => {
    for (const method of ['decode', 'decodeBytes']) {
      expect(thrown(() => callUnchecked(tokenizer, method, [tokens]))).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
      });
    }
  });

  test.each([[1.5], [NaN], [Infinity], [-0.5]])('is no integer: %p', (token) => {
    expect(thrown(() => tokenizer.decodeBytes([0, token]))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringContaining('tokens[1]') as string,
    });
  });

  test.each([2 ** 32, -1, 0.5])('has no such length: %p', (length) => {
    const proxy = new Proxy([5], { get: (_, key) => (key === 'length' ? length : 5) });
    expect(thrown(() => tokenizer.decode(proxy))).toMatchObject({
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringContaining('tokens.length') as string,
    });
  });

  test('may be of a class that has a length of its own', () => {
    class Long extends Uint32Array {
      override get length(): number {
        return 2 ** 40;
      }
    }
    expect(tokenizer.decode(Long.of(97, 98))).toBe('ab');
  });

  test.each([[256], [-1], [2 ** 32], [2 ** 53]])('is no id of the vocabulary: %p', (token) => {
    expect(thrown(() => tokenizer.decode([0, token]))).toMatchObject({
      name: 'WkvError',
      code: 'ERR_WKV_TOKEN',
      expected: 'an id from 0 to 255',
      found: String(token),
    });
  });
});
