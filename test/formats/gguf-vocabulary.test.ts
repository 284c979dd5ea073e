import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTensorDirectory } from '../../lib/formats';
import { findTokenizer } from '../../lib/tokenizer-search';
import { Tokenizer } from '../../lib/tokenizer';
import { expectFailure, thrown } from '../support/failure';
import { ggufMetadata, ggufTensors, rwkv7 } from '../support/gguf-models';
import { ggufBytes, type GgufEntry } from '../support/gguf-writer';
import { describeWithWorld } from '../tokenizer/support';
import { refusal, useScratchDirectory } from './support';

const scratch = useScratchDirectory();
const [normal, control, unused] = [1, 3, 5];

function write(entries: Readonly<Record<string, GgufEntry>>, path = scratch('model.gguf')): string {
  const metadata = { ...ggufMetadata('rwkv7'), ...entries };
  writeFileSync(path, ggufBytes(ggufTensors('rwkv7', rwkv7()), { metadata }));
  return path;
}

const strings = (...texts: readonly (string | Uint8Array)[]): GgufEntry => ['array', 'string', texts];
const rwkv: GgufEntry = ['string', 'rwkv'];

async function tokenizerOf(entries: Readonly<Record<string, GgufEntry>>): Promise<Tokenizer | undefined> {
  const path = write({ 'tokenizer.ggml.model': rwkv, ...entries });
  const { vocabulary } = await openTensorDirectory(path);
  return findTokenizer(path, 1000, vocabulary);
}

const bytesOf = (tokenizer: Tokenizer | undefined, id: number): string =>
  Buffer.from(tokenizer!.decodeBytes([id])).toString('hex');

test('tokens are written like the bytes of Python', async () => {
  const tokenizer = await tokenizerOf({
    'tokenizer.ggml.tokens': strings(
      ...['<s>', 'a', String.raw`\n\r\t`, String.raw`\\x41`, String.raw`\xe6\x97`, String.raw`"\'`],
      ...['ü', Uint8Array.of(0xff, 0x20), ' b', String.raw`\x00`, String.raw`\xAd`],
    ),
    'tokenizer.ggml.token_type': ['array', 'int32', [control, ...Array<number>(10).fill(normal)]],
  });
  expect(tokenizer?.size).toBe(11);
  expect(tokenizer?.endOfText).toBe(0);
  expect(Array.from({ length: 11 }, (_, id) => bytesOf(tokenizer, id))).toEqual([
    ...['', '61', '0a0d09', '5c783431', 'e697', '2227', 'c3bc', 'ff20', '2062', '00', 'ad'],
  ]);
  expect([...tokenizer!.encode('a ba')]).toEqual([1, 8, 1]);
});

test('controls and ids that are not used have no bytes, and no text becomes one', async () => {
  const tokenizer = await tokenizerOf({
    'tokenizer.ggml.tokens': strings('<s>', '<', 's', '>', '[PAD4]', 'x', 'y'),
    'tokenizer.ggml.token_type': ['array', 'int32', [control, normal, normal, normal, unused, 4, 6]],
    'tokenizer.ggml.eos_token_id': ['uint32', 4],
  });
  expect([...tokenizer!.encode('<s>xy')]).toEqual([1, 2, 3, 5, 6]);
  expect(bytesOf(tokenizer, 4)).toBe('');
  expect(tokenizer?.endOfText).toBe(4);
});

test('an end of text that is text, as early converters wrote it, is not taken for it where the first id is a control', async () => {
  const tokens = strings('<s>', String.raw`\x00`, String.raw`\x01`, 'a');
  const end = { 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.eos_token_id': ['uint32', 2] } as const;
  const types = (first: number): GgufEntry => ['array', 'int32', [first, normal, normal, normal]];
  const withTypes = (first: number) => tokenizerOf({ ...end, 'tokenizer.ggml.token_type': types(first) });
  expect((await withTypes(control))?.endOfText).toBe(0);
  expect((await tokenizerOf(end))?.endOfText).toBe(0);
  expect((await withTypes(normal))?.endOfText).toBe(2);
});

test('without types the first id alone has no bytes', async () => {
  const tokenizer = await tokenizerOf({ 'tokenizer.ggml.tokens': strings('<s>', '<s>', 'x') });
  expect([...tokenizer!.encode('<s>x')]).toEqual([1, 2]);
});

test('a tokenizer of another kind is not taken for it', async () => {
  const path = write({ 'tokenizer.ggml.model': ['string', 'gpt2'], 'tokenizer.ggml.tokens': strings('a') });
  expect((await openTensorDirectory(path)).vocabulary).toBeUndefined();
  expect((await openTensorDirectory(write({}))).vocabulary).toBeUndefined();
});

test("the model's own vocabulary comes before a file beside it", async () => {
  const folder = scratch('beside');
  mkdirSync(folder);
  writeFileSync(join(folder, 'vocab.txt'), "1 'a' 1\n2 'b' 1\n");
  const own = { 'tokenizer.ggml.model': rwkv, 'tokenizer.ggml.tokens': strings('', 'c', 'd', 'e') };
  const path = write(own, join(folder, 'model.gguf'));
  const { vocabulary } = await openTensorDirectory(path);
  expect(findTokenizer(path, 1000, vocabulary)?.decode([1, 2, 3])).toBe('cde');
  expect(findTokenizer(path, 1000)?.decode([1, 2])).toBe('ab');
});

describe('a vocabulary is refused', () => {
  test.each<[string, Record<string, GgufEntry>, RegExp]>([
    ['without tokens', {}, /tokens is no vocabulary/],
    ['of numbers', { 'tokenizer.ggml.tokens': ['array', 'int32', [1]] }, /tokens is no vocabulary/],
    ['that is text', { 'tokenizer.ggml.tokens': ['string', 'a'] }, /tokens is no vocabulary/],
    [
      'with fewer types than tokens',
      {
        'tokenizer.ggml.tokens': strings('a', 'b'),
        'tokenizer.ggml.token_type': ['array', 'int32', [normal]],
      },
      /token_type does not fit/,
    ],
    [
      'with types that are no numbers',
      { 'tokenizer.ggml.tokens': strings('a'), 'tokenizer.ggml.token_type': strings('b') },
      /token_type does not fit/,
    ],
    [
      'with an unknown escape',
      { 'tokenizer.ggml.tokens': strings('', String.raw`\q`) },
      /the token 1 .*escape/,
    ],
    ['with half a byte', { 'tokenizer.ggml.tokens': strings('', String.raw`\x4`) }, /the token 1 .*escape/],
    ['with a byte of other letters', { 'tokenizer.ggml.tokens': strings('', String.raw`\x4g`) }, /escape/],
    ['with a backslash at an end', { 'tokenizer.ggml.tokens': strings('', 'a\\') }, /escape/],
    [
      'with an end of text that it does not have',
      { 'tokenizer.ggml.tokens': strings('', 'a'), 'tokenizer.ggml.eos_token_id': ['uint32', 2] },
      /eos_token_id/,
    ],
  ])('%s', async (_, entries, message) => {
    const error = await refusal(write({ 'tokenizer.ggml.model': rwkv, ...entries }));
    expect(error.code).toBe('ERR_WKV_FORMAT');
    expect(error.message).toMatch(message);
  });

  test.each<[string, GgufEntry, RegExp]>([
    [
      'where two tokens are the same',
      strings('', 'a', String.raw`\x61`),
      /tokens 1 and 2 have the same bytes/,
    ],
    ['where no token has bytes', strings('<s>', ''), /without a single token that has bytes/],
  ])('%s, when it is used', async (_, tokens, message) => {
    const path = write({ 'tokenizer.ggml.model': rwkv, 'tokenizer.ggml.tokens': tokens });
    const { vocabulary } = await openTensorDirectory(path);
    const error = thrown(() => findTokenizer(path, 1000, vocabulary));
    expectFailure(error, { code: 'ERR_WKV_FORMAT', path, message });
  });
});

describeWithWorld('the World vocabulary in a GGUF', () => {
  /** As `repr` of Python writes bytes, without what encloses them. */
  function written(bytes: Uint8Array): string {
    const quote = bytes.includes(0x27) && !bytes.includes(0x22) ? '"' : "'";
    const escapes: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r', '\\': '\\\\' };
    return Array.from(bytes, (byte) => {
      const character = String.fromCharCode(byte);
      if (character === quote) return `\\${quote}`;
      const plain = byte >= 0x20 && byte < 0x7f ? character : `\\x${byte.toString(16).padStart(2, '0')}`;
      return escapes[character] ?? plain;
    }).join('');
  }

  test('is the one that the package has', async () => {
    const world = Tokenizer.world();
    const ids = Array.from({ length: world.size }, (_, id) => id);
    const types = ids.map((id) =>
      world.decodeBytes([id]).length > 0 ? normal : id === 0 ? control : unused,
    );
    const texts = ids.map((id) =>
      types[id] === normal ? written(world.decodeBytes([id])) : id === 0 ? '<s>' : `[PAD${id}]`,
    );
    const tokenizer = await tokenizerOf({
      'tokenizer.ggml.tokens': strings(...texts),
      'tokenizer.ggml.token_type': ['array', 'int32', types],
    });
    expect(tokenizer?.size).toBe(world.size);
    expect(Buffer.from(tokenizer!.decodeBytes(ids)).equals(world.decodeBytes(ids))).toBe(true);
    const text = 'Hello "World"! It\'s <s> [PAD65530] \\ \t\n\n 你好 😀 \u0000';
    expect(tokenizer!.encode(text)).toEqual(world.encode(text));
  });
});
