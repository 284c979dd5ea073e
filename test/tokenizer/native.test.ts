import { native } from '../../lib/native';
import { callUnchecked, thrown } from '../support/failure';

describe("the addon's vocabulary trusts nothing", () => {
  const bytes = Uint8Array.from([0x61, 0x62, 0x61]);
  const offsets = Uint32Array.from([0, 1, 3]);

  test('and works on what is right', () => {
    const vocabulary = new native.Vocabulary(bytes, offsets);
    expect(vocabulary.size).toBe(2);
    expect(Array.from(vocabulary.encode(Uint8Array.from([0x61, 0x62, 0x61, 0x61])))).toEqual([0, 1, 0]);
  });

  test('keeps no reference to its arguments', () => {
    const own = { bytes: bytes.slice(), offsets: offsets.slice() };
    const vocabulary = new native.Vocabulary(own.bytes, own.offsets);
    own.bytes.fill(0);
    own.offsets.fill(0xffff_ffff);
    expect(Array.from(vocabulary.encode(Uint8Array.of(0x61)))).toEqual([0]);
  });

  test.each([
    [[]],
    [[bytes]],
    [[offsets, bytes]],
    [[new Uint8ClampedArray(3), offsets]],
    [[bytes, new Int32Array(3)]],
    [[bytes, [0, 1, 3]]],
    [[bytes.buffer, offsets]],
    [['ab', offsets]],
    [[null, undefined]],
  ])('arguments of the wrong type: %p', (args) => {
    expect(thrown(() => Reflect.construct(native.Vocabulary, args))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  test.each([
    [[], 'no tokens'],
    [[0], 'no tokens'],
    [[0, 0], 'expected from 0 to the number of bytes, 3'],
    [[1, 3], 'expected from 0 to the number of bytes, 3'],
    [[0, 4], 'expected from 0 to the number of bytes, 3'],
    [[0, 2 ** 32 - 1, 3], 'token 0 has 4294967295 bytes; at most 256'],
    [[0, 3, 1, 3], 'out of order at token 1'],
    [[0, 1, 2, 3], 'tokens 0 and 2 have the same bytes'],
  ])('offsets that describe no vocabulary: %p', (wrong, message) => {
    expect(thrown(() => new native.Vocabulary(bytes, Uint32Array.from(wrong)))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      message: expect.stringContaining(message) as string,
    });
  });

  test('text of the wrong type', () => {
    const vocabulary = new native.Vocabulary(bytes, offsets);
    for (const text of [undefined, 'a', [0x61], new Uint16Array(1), bytes.buffer]) {
      expect(thrown(() => callUnchecked(vocabulary, 'encode', [text]))).toMatchObject({
        code: 'ERR_INVALID_ARG_TYPE',
      });
    }
  });

  test('the receiver of a method, and a call without new', () => {
    const vocabulary = new native.Vocabulary(bytes, offsets);
    const stranger = Object.assign(Object.create(null) as object, {
      encode: Reflect.get(vocabulary, 'encode'),
    });
    expect(thrown(() => callUnchecked(stranger, 'encode', [bytes]))).toMatchObject({ name: 'TypeError' });
    expect(thrown(() => callUnchecked(native, 'Vocabulary', [bytes]))).toMatchObject({ name: 'TypeError' });
  });

  test('a buffer that was given away: its text is empty', () => {
    const vocabulary = new native.Vocabulary(bytes, offsets);
    const text = Uint8Array.of(0x61, 0x61);
    structuredClone(text, { transfer: [text.buffer] });
    expect(vocabulary.encode(text)).toHaveLength(0);
  });
});
