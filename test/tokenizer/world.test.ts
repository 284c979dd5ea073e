import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { describeWithWorld, encodeNaively, Random, readTokens, worldText } from './support';

interface Case {
  n: number;
  category?: string;
  /** The bytes of the text. */
  base64: string;
  ids: number[];
  /** Where the bytes are UTF-8. */
  text?: string | null;
}

describeWithWorld('the World tokenizer', (world) => {
  test('has 65536 ids, of which 0 ends a text', () => {
    expect(world.size).toBe(65_536);
    expect(world.endOfText).toBe(0);
  });

  test('has exactly the bytes for every id that Python reads in the vocabulary', () => {
    // Python 3: ast.literal_eval of every literal, then a SHA-256 of, for every id from 0 to 65535, the number of
    // its bytes (32 bits, little-endian) and the bytes.
    const hash = createHash('sha256');
    for (let id = 0; id < 65_536; id++) {
      const bytes = world.decodeBytes([id]);
      hash.update(new Uint8Array(new Uint32Array([bytes.length]).buffer)).update(bytes);
    }
    expect(hash.digest('hex')).toBe('17e491d58167678883803e4f596edc3faa86a1125dd91d93ea8272772f10e273');
  });

  test('encodes every token to its own id', () => {
    const wrong: number[] = [];
    for (let id = 1; id <= 65_529; id++) {
      const ids = world.encode(world.decodeBytes([id]));
      if (ids.length !== 1 || ids[0] !== id) wrong.push(id);
    }
    expect(wrong).toEqual([]);
  });

  test('has no bytes for the end of text and the last six ids, and skips them', () => {
    expect(world.decodeBytes([0, 65_530, 65_531, 65_532, 65_533, 65_534, 65_535])).toHaveLength(0);
    expect(world.decode([0, 33_155, 0, 37_576, 65_535, 34, 0])).toBe('Hello World!');
  });

  test.each([
    ['User: hi\n\nAssistant:', [24_281, 59, 4571, 261, 5585, 41_693, 59]],
    ['Hello World!', [33_155, 37_576, 34]],
    ['😀', [3319, 153, 129]],
    ['1234567', [632, 654, 676, 56]],
    ['\r\n\r\n', [19_244]],
    ['\0', [1]],
    ['\uFEFF', [19_125]],
    ['', []],
  ])('encodes %j as the published tokenizers do', (text, ids) => {
    expect(Array.from(world.encode(text))).toEqual(ids);
    expect(world.decode(ids)).toBe(text);
  });

  test('makes plain text of what looks like a special token', () => {
    const ids = world.encode('<|endoftext|>');
    expect(ids).toHaveLength(7);
    expect(Array.from(ids)).not.toContain(0);
  });

  test('does not normalize: composed and decomposed accents stay what they are', () => {
    const composed = '\u00e9';
    const decomposed = 'e\u0301';
    expect(world.decode(world.encode(composed))).toBe(composed);
    expect(world.decode(world.encode(decomposed))).toBe(decomposed);
    expect(Array.from(world.encode(composed))).not.toEqual(Array.from(world.encode(decomposed)));
  });

  test('encodes a lone surrogate as U+FFFD', () => {
    for (const surrogate of ['\ud83d', '\udc00', 'a\ud83d', '\udc00\ud800']) {
      const bytes = world.decodeBytes(world.encode(surrogate));
      expect(Buffer.from(bytes).toString('hex')).toBe(
        surrogate.replaceAll('a', '61').replaceAll(/[\ud800-\udfff]/g, 'efbfbd'),
      );
    }
  });

  test('keeps a byte order mark and NUL when decoding', () => {
    expect(world.decode(world.encode('\uFEFFa\0\uFEFF'))).toBe('\uFEFFa\0\uFEFF');
  });

  test('gives back the bytes of 5000 random byte strings', () => {
    const random = new Random(1);
    const wrong: Uint8Array[] = [];
    for (let round = 0; round < 5000; round++) {
      const bytes = random.bytes(random.below(200));
      if (Buffer.compare(world.decodeBytes(world.encode(bytes)), bytes) !== 0) wrong.push(bytes);
    }
    expect(wrong).toEqual([]);
  });

  test('agrees with the definition, the longest token first, on random mixed text', () => {
    const tokens = readTokens(worldText!);
    expect(tokens.size).toBe(65_529);
    const all = [...tokens.keys()];
    const random = new Random(2);
    for (let round = 0; round < 40; round++) {
      const pieces = Array.from({ length: 100 }, () => {
        const token = Buffer.from(all[random.below(all.length)]!, 'latin1');
        switch (random.below(4)) {
          case 0:
            return random.bytes(3);
          case 1: // part of a token
            return token.subarray(random.below(token.length), token.length - random.below(2));
          case 2: {
            const codePoint = random.below(0x11_0000 - 0x800);
            return Buffer.from(String.fromCodePoint(codePoint < 0xd800 ? codePoint : codePoint + 0x800));
          }
          default:
            return token;
        }
      });
      const text = Buffer.concat(pieces);
      expect(Array.from(world.encode(text))).toEqual(encodeNaively(tokens, text));
    }
  });

  test('reads bytes that lie anywhere in their buffer, and shared ones', () => {
    const text = Buffer.from('....Hello World!....').subarray(4, 16);
    expect(Array.from(world.encode(text))).toEqual([33_155, 37_576, 34]);
    const shared = new Uint8Array(new SharedArrayBuffer(12));
    shared.set(text);
    expect(Array.from(world.encode(shared))).toEqual([33_155, 37_576, 34]);
  });

  describeWithFixtures('against another implementation', () => {
    const { encode, decode } = JSON.parse(readFileSync(fixturePath('tokenizer/cases.json'), 'utf8')) as {
      encode: Case[];
      decode: Case[];
    };

    test.each(encode.map((one) => [one.n, one.category, one] as const))(
      'encodes case %i (%s) to the same ids, and back',
      (_n, _category, { base64, ids, text }) => {
        const bytes = Buffer.from(base64, 'base64');
        expect(Array.from(world.encode(bytes))).toEqual(ids);
        expect(Buffer.from(world.decodeBytes(ids)).toString('base64')).toBe(base64);
        if (typeof text === 'string') {
          expect(Array.from(world.encode(text))).toEqual(ids);
          expect(world.decode(ids)).toBe(text);
        }
      },
    );

    test.each(decode.map((one) => [one.n, one] as const))(
      'decodes case %i to the same bytes',
      (_n, { base64, ids }) => {
        expect(Buffer.from(world.decodeBytes(ids)).toString('base64')).toBe(base64);
        expect(Buffer.from(world.decodeBytes(Uint32Array.from(ids))).toString('base64')).toBe(base64);
      },
    );
  });
});
