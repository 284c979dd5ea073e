import { StreamingDecoder } from '../../lib/decoder';
import { Tokenizer } from '../../lib/tokenizer';
import { callUnchecked, thrown } from '../support/failure';
import { describeWithWorld, Random } from './support';

const tokenizer = Tokenizer.bytes();

/** What Node's own, other decoder makes of all bytes at once. */
function decodeWhole(bytes: ArrayLike<number>): string {
  return Buffer.from(Array.from(bytes)).toString('utf8');
}

function utf8(text: string): number[] {
  return Array.from(Buffer.from(text));
}

describe('a streaming decoder', () => {
  test('emits a character when its last byte comes, and not before', () => {
    const decoder = tokenizer.createDecoder();
    expect(utf8('aé€😀').map((byte) => decoder.push(byte))).toEqual([
      'a',
      '',
      'é',
      '',
      '',
      '€',
      '',
      '',
      '',
      '😀',
    ]);
    expect(decoder.end()).toBe('');
  });

  test('says how many bytes it holds back', () => {
    const decoder = tokenizer.createDecoder();
    const pending = utf8('a😀é').map((byte) => {
      decoder.push(byte);
      return decoder.pending;
    });
    expect(pending).toEqual([0, 1, 2, 3, 0, 1, 0]);
  });

  test('emits U+FFFD at the end of a text that ends inside a character, once', () => {
    const decoder = tokenizer.createDecoder();
    expect(decoder.push(utf8('a😀').slice(0, 4))).toBe('a');
    expect(decoder.end()).toBe('\ufffd');
    expect(decoder.pending).toBe(0);
    expect(decoder.end()).toBe('');
  });

  test('begins a new text after the end', () => {
    const decoder = tokenizer.createDecoder();
    decoder.push(0xe2);
    decoder.end();
    expect(decoder.push(utf8('€'))).toBe('€');
  });

  test('emits U+FFFD as soon as bytes can no longer become a character', () => {
    const decoder = tokenizer.createDecoder();
    for (const none of [0xc0, 0xc1, 0xf5, 0xff]) expect(decoder.push(none)).toBe('\ufffd');
    expect(decoder.push(0x80)).toBe('\ufffd');
    expect(decoder.push([0xe0, 0x80])).toBe('\ufffd\ufffd'); // too long an encoding
    expect(decoder.push([0xed, 0xa0])).toBe('\ufffd\ufffd'); // a surrogate
    expect(decoder.push([0xf4, 0x90])).toBe('\ufffd\ufffd'); // past U+10FFFF
    expect(decoder.push([0xe2, 0x82])).toBe('');
    expect(decoder.push(0x41)).toBe('\ufffdA');
  });

  test('keeps byte order marks, wherever they are split', () => {
    for (const split of [0, 1, 2, 3, 4, 5, 6]) {
      const decoder = tokenizer.createDecoder();
      const bytes = utf8('\uFEFF\uFEFFa');
      const text = decoder.push(bytes.slice(0, split)) + decoder.push(bytes.slice(split)) + decoder.end();
      expect(text).toBe('\uFEFF\uFEFFa');
    }
  });

  test('makes of every split of a text what decoding makes of the whole', () => {
    const texts = [
      utf8('aé€😀\uFEFF日本語\0 नमस्ते مرحبا 👩‍👩‍👧'),
      [0xf0, 0x9f, 0x98, 0xf0, 0x9f, 0xe2, 0x82, 0xc3, 0x41, 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80, 0xc3],
    ];
    for (const bytes of texts) {
      const whole = decodeWhole(bytes);
      expect(tokenizer.decode(bytes)).toBe(whole);
      for (let first = 0; first <= bytes.length; first++) {
        for (let second = first; second <= bytes.length; second++) {
          const decoder = tokenizer.createDecoder();
          const parts = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
          expect(parts.map((part) => decoder.push(part)).join('') + decoder.end()).toBe(whole);
        }
      }
    }
  });

  test('makes of all strings of four telling bytes, one by one, what decoding makes of the whole', () => {
    const telling = [
      0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf1, 0xf4, 0xf5,
    ];
    const wrong: number[][] = [];
    for (let code = 0; code < telling.length ** 4; code++) {
      const bytes = [code & 15, (code >> 4) & 15, (code >> 8) & 15, code >> 12].map(
        (index) => telling[index]!,
      );
      const decoder = tokenizer.createDecoder();
      const text = bytes.map((byte) => decoder.push(byte)).join('') + decoder.end();
      if (text !== decodeWhole(bytes)) wrong.push(bytes);
    }
    expect(wrong).toEqual([]);
  });

  test('takes a token, any iterable of tokens, and bytes', () => {
    const decoder = tokenizer.createDecoder();
    function* generate(): Generator<number> {
      yield 0x42;
      yield 0x43;
    }
    expect(decoder.push(0x41)).toBe('A');
    expect(decoder.push(generate())).toBe('BC');
    expect(decoder.push(Uint32Array.of(0x44))).toBe('D');
    expect(decoder.push(new Set([0x45]))).toBe('E');
    expect(decoder.pushBytes(Uint8Array.of(0xc3))).toBe('');
    expect(decoder.push(0xa9)).toBe('é');
    expect(decoder.push([])).toBe('');
  });

  test('is as before where a token is refused', () => {
    const decoder = tokenizer.createDecoder();
    decoder.push(0xc3);
    expect(thrown(() => decoder.push([0xa9, 256]))).toMatchObject({ code: 'ERR_WKV_TOKEN' });
    expect(thrown(() => callUnchecked(decoder, 'push', ['é']))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
    expect(decoder.pending).toBe(1);
    expect(decoder.push(0xa9)).toBe('é');
  });

  test('works on any object that decodes tokens to bytes', () => {
    const decoder = new StreamingDecoder({
      decodeBytes: (tokens) => Uint8Array.from(tokens, (token) => token + 1),
    });
    expect(decoder.push([0xe1, 0x81])).toBe('');
    expect(decoder.push(0xab)).toBe('€');
  });

  test.each([
    ['a string', 'abc'],
    ['an array', [97]],
    ['nothing', undefined],
  ])('refuses %s as bytes, and keeps what it holds back', (_what, bytes) => {
    const decoder = Tokenizer.bytes().createDecoder();
    decoder.push(0xc3);
    expect(thrown(() => decoder.pushBytes(bytes as never))).toMatchObject({
      ...{ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
      message: expect.stringMatching(/^bytes: expected a Uint8Array, found/) as string,
    });
    expect(decoder.push(0xa9)).toBe('é');
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['an object that decodes nothing', {}],
    ['a text', 'World'],
  ])('is not made of %s', (_what, tokenizer) => {
    expect(thrown(() => new StreamingDecoder(tokenizer as never))).toMatchObject({
      ...{ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
      message: expect.stringMatching(/^tokenizer: expected an object with decodeBytes, found/) as string,
    });
  });

  test('refuses an object that decodes tokens to something else', () => {
    const decoder = new StreamingDecoder({ decodeBytes: () => 'a' as never });
    expect(thrown(() => decoder.push(97))).toMatchObject({
      ...{ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
      message: "what tokenizer.decodeBytes returned: expected a Uint8Array, found 'a'",
    });
  });
});

describeWithWorld('a streaming decoder of World tokens', (world) => {
  test('joins the characters that tokens split', () => {
    const decoder = world.createDecoder();
    expect([3319, 153, 129, 0].map((token) => decoder.push(token))).toEqual(['', '', '😀', '']);
  });

  test('makes of random tokens, one by one, what decoding makes of the whole', () => {
    const random = new Random(4);
    for (let round = 0; round < 50; round++) {
      // The first 300 ids have most of the tokens that are no UTF-8 by themselves.
      const tokens = Array.from({ length: 200 }, () =>
        random.below(random.below(2) === 0 ? 300 : world.size),
      );
      const decoder = world.createDecoder();
      const text = tokens.map((token) => decoder.push(token)).join('') + decoder.end();
      expect(text).toBe(world.decode(tokens));
    }
  });
});
