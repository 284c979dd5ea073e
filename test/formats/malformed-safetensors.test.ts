import { safetensorsBytes, safetensorsContainer } from '../support/safetensors-writer';
import { uint64 } from '../support/zip-writer';
import { refusalOf, smallModel, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

async function refuse(bytes: Uint8Array): Promise<{ code: string; message: string; tensor?: string }> {
  return await refusalOf(scratch('malformed.safetensors'), bytes);
}

/** A file with this header and 16 bytes of elements. */
function file(header: string): Buffer {
  return safetensorsContainer(header, Buffer.alloc(16));
}

function tensor(dtype: string, shape: string, offsets: string): string {
  return `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;
}

describe('a .safetensors file with a wrong header is refused:', () => {
  /** Headers by what is said of them. */
  const headers: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
    'holds no tensors': [
      ['no tensors', '{}'],
      ['only metadata', '{"__metadata__":{"a":"b"}}'],
    ],
    'something that is not ":"': [['an end in the middle', '{"a":{"dtype"']],
    'text after the end of the value': [['text behind its end', `{"a":${tensor('F32', '[4]', '[0,16]')}} x`]],
    'something that is not a key': [
      ['a comma at its end', `{"a":${tensor('F32', '[4]', '[0,16]')},}`],
      ['a comment', `{/**/"a":${tensor('F32', '[4]', '[0,16]')}}`],
      ['a key without quotes', `{a:${tensor('F32', '[4]', '[0,16]')}}`],
    ],
    'text without an end': [['a line feed in a key', `{"a\n":${tensor('F32', '[4]', '[0,16]')}}`]],
    'text with a wrong escape': [['a wrong escape', `{"\\x":${tensor('F32', '[4]', '[0,16]')}}`]],
    'the key "a" a second time': [
      ['a tensor twice', `{"a":${tensor('F32', '[4]', '[0,16]')},"a":${tensor('F32', '[4]', '[0,16]')}}`],
    ],
    'the key "dtype" a second time': [
      ['a dtype twice', `{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}`],
    ],
    '__metadata__ is not a JSON object': [
      ['metadata that is no object', `{"__metadata__":[],"a":${tensor('F32', '[4]', '[0,16]')}}`],
    ],
    '__metadata__ holds "a", which is not text': [
      ['metadata that is no text', `{"__metadata__":{"a":1},"a":${tensor('F32', '[4]', '[0,16]')}}`],
    ],
    'describes the tensor "a" incompletely': [
      ['a tensor that is a number', '{"a":16}'],
      ['a tensor that is null', '{"a":null}'],
      ['a tensor without a dtype', '{"a":{"shape":[4],"data_offsets":[0,16]}}'],
      ['a tensor without a shape', '{"a":{"dtype":"F32","data_offsets":[0,16]}}'],
      ['a tensor without offsets', '{"a":{"dtype":"F32","shape":[4]}}'],
    ],
    'of shape [4] has wrong offsets': [
      ['one offset', `{"a":${tensor('F32', '[4]', '[16]')}}`],
      ['three offsets', `{"a":${tensor('F32', '[4]', '[0,16,16]')}}`],
      ['offsets that are text', `{"a":${tensor('F32', '[4]', '["0","16"]')}}`],
      ['offsets that run backwards', `{"a":${tensor('F32', '[4]', '[16,0]')}}`],
      ['a negative offset', `{"a":${tensor('F32', '[4]', '[-16,0]')}}`],
      ['a fraction for an offset', `{"a":${tensor('F32', '[4]', '[0.5,16.5]')}}`],
      ['offsets of 2^53', `{"a":${tensor('F32', '[4]', '[9007199254740992,9007199254741008]')}}`],
      ['offsets of 1e300', `{"a":${tensor('F32', '[4]', '[1e300,1e300]')}}`],
      ['a shape with fewer elements', `{"a":${tensor('F16', '[4]', '[0,16]')}}`],
    ],
    'the file ends inside the tensor "a"': [
      ['offsets behind the end', `{"a":${tensor('F32', '[8]', '[0,32]')}}`],
    ],
    'the last tensor is followed by something else': [
      ['elements that no tensor has', `{"a":${tensor('F32', '[3]', '[0,12]')}}`],
    ],
    'the tensor "a" leaves a gap before it': [
      ['elements before the first tensor', `{"a":${tensor('F32', '[3]', '[4,16]')}}`],
    ],
    'the tensor "b" leaves a gap before it': [
      ['a gap', `{"a":${tensor('F32', '[1]', '[0,4]')},"b":${tensor('F32', '[2]', '[8,16]')}}`],
    ],
    'the tensor "b" overlaps another': [
      ['an overlap', `{"a":${tensor('F32', '[3]', '[0,12]')},"b":${tensor('F32', '[2]', '[8,16]')}}`],
      [
        'two tensors in one place',
        `{"a":${tensor('F32', '[4]', '[0,16]')},"b":${tensor('F32', '[4]', '[0,16]')}}`,
      ],
    ],
    'the tensor "a" of shape [5] has wrong offsets': [
      ['a shape with more elements', `{"a":${tensor('F32', '[5]', '[0,16]')}}`],
    ],
    'the tensor "a" has an impossible shape [-2, -2]': [
      ['a negative dimension', `{"a":${tensor('F32', '[-2,-2]', '[0,16]')}}`],
    ],
    'the tensor "a" has an impossible shape [1.5]': [
      ['a fraction for a dimension', `{"a":${tensor('F32', '[1.5]', '[0,16]')}}`],
    ],
    'the tensor "a" has an impossible shape ["4"]': [
      ['text for a dimension', `{"a":${tensor('F32', '["4"]', '[0,16]')}}`],
    ],
    'the tensor "a" has an impossible shape [an object]': [
      ['a list for a dimension', `{"a":${tensor('F32', '[[4]]', '[0,16]')}}`],
    ],
    'the shape [4294967296, 4294967296] of the tensor "a" is too large to exist': [
      ['dimensions whose product is 2^64', `{"a":${tensor('F32', '[4294967296,4294967296]', '[0,16]')}}`],
    ],
    'the tensor "a" has an impossible shape [1e+300]': [
      ['a dimension of 1e300', `{"a":${tensor('F32', '[1e300]', '[0,16]')}}`],
    ],
    'nesting deeper than 32': [
      ['nesting without end', `{"a":${'['.repeat(1_000_000)}`],
      ['nested objects without end', '{"a":'.repeat(1_000_000)],
    ],
    'JSON with more than 1000000 values': [['two million values', `{"a":[${'0,'.repeat(2_000_000)}0]}`]],
  };
  const cases = Object.entries(headers).flatMap(([message, wrong]) =>
    wrong.map(([name, header]) => ({ name, header, message })),
  );
  test.each(cases)('$name', async ({ header, message }) => {
    const error = await refuse(file(header));
    expect(error.code).toBe('ERR_WKV_FORMAT');
    expect(error.message).toContain(message);
  });

  test.each<[string, string]>([
    ['F64', tensor('F64', '[2]', '[0,16]')],
    ['I64', tensor('I64', '[2]', '[0,16]')],
    ['F8_E4M3', tensor('F8_E4M3', '[16]', '[0,16]')],
    ['BOOL', tensor('BOOL', '[16]', '[0,16]')],
    ['f32', tensor('f32', '[4]', '[0,16]')],
    ['constructor', tensor('constructor', '[4]', '[0,16]')],
  ])('elements of type %s (not supported)', async (dtype, info) => {
    const error = await refuse(file(`{"some.tensor":${info}}`));
    expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', tensor: 'some.tensor', found: dtype });
  });

  test.each<[string, string]>([
    ['no elements', tensor('F32', '[0]', '[0,0]')],
    ['nine dimensions', tensor('F32', '[1,1,1,1,1,1,1,1,4]', '[0,16]')],
  ])('a tensor with %s (not supported)', async (_, info) => {
    expect(await refuse(file(`{"some.tensor":${info}}`))).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      tensor: 'some.tensor',
    });
  });

  test.each<[string, string]>([
    ['["4"]', '["4"]'],
    ['[[4], {}, null]', '[an object, an object, null]'],
    [`["${'x'.repeat(1000)}"]`, `["${'x'.repeat(117)}..."]`],
  ])('a shape of no numbers, which the message shows: %s', async (shape, shown) => {
    const error = await refuse(file(`{"a":${tensor('F32', shape, '[0,16]')}}`));
    expect(error.message).toContain(`impossible shape ${shown}`);
  });

  test('text that is not UTF-8', async () => {
    const header = Buffer.from('{"a\xff":1}', 'latin1');
    expect((await refuse(Buffer.concat([uint64(header.length), header]))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, number | bigint]>([
    ['0', 0],
    ['one more than the file has', 1000],
    ['100 MB', 100_000_000],
    ['4 GB', 0xffffffff],
    ['2^63', 1n << 63n],
    ['2^64 - 1', (1n << 64n) - 1n],
  ])('a header length of %s', async (_, length) => {
    const bytes = safetensorsBytes(smallModel);
    bytes.set(uint64(length), 0);
    expect((await refuse(bytes)).code).toBe('ERR_WKV_FORMAT');
  });

  test.each([
    ['a NUL', 'a\0b', '"a\\u0000b"'],
    ['half of a character', '\ud800', '"\\ud800"'],
    ['what turns text around', 'a\u202egnp.exe', '"a\\u202egnp.exe"'],
    ['what ends lines', 'a\u2028Loaded.', '"a\\u2028Loaded."'],
    ['what ends paragraphs', 'a\u2029', '"a\\u2029"'],
    ['what cannot be seen', 'a\u00ad', '"a\\u00ad"'],
    ['a letter that cannot be seen, of two halves', 'a\u{e0041}', '"a\\udb40\\udc41"'],
    ['nothing', '', '""'],
    ['a thousand letters and one', 'a'.repeat(1001), `"${'a'.repeat(117)}..."`],
  ])('a name with %s, which the message shows', async (_, name, shown) => {
    const bytes = safetensorsBytes([{ name, type: 'f32', shape: [1], data: [1] }]);
    const error = await refuse(bytes);
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', found: shown });
    expect(error.message).toContain(`a tensor is called ${shown}`);
  });

  test('a key twice, which the message shows', async () => {
    const error = await refuse(file('{"a\u202eb":1,"a\u202eb":1}'));
    expect(error.message).toContain(String.raw`the key "a\u202eb" a second time`);
  });

  test('a header of more than 32 MB that is there, without reading it', async () => {
    const bytes = Buffer.concat([uint64(32_000_001), Buffer.from('{'), Buffer.alloc(32_000_000, ' ')]);
    expect(await refuse(bytes)).toMatchObject({ code: 'ERR_WKV_FORMAT', expected: 'at most 32000000' });
  });

  test('more than 100,000 tensors', async () => {
    const tensors = Array.from(
      { length: 100_001 },
      (_, i) => `"${i}":${tensor('F32', '[1]', `[${4 * i},${4 * i + 4}]`)}`,
    );
    const bytes = safetensorsContainer(`{${tensors.join()}}`, Buffer.alloc(4 * tensors.length));
    expect((await refuse(bytes)).message).toContain('holds more than 100000 tensors');
  });

  test('something behind its end', async () => {
    expect((await refuse(Buffer.concat([safetensorsBytes(smallModel), Buffer.of(0)]))).code).toBe(
      'ERR_WKV_FORMAT',
    );
  });
});
