import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTensorDirectory } from '../../lib/formats';
import { WkvError } from '../../lib/errors';
import { loadModel } from '../../lib/index';
import { expectFailure, rejection } from '../support/failure';
import { readParts, toInt8, writeParts, type PackedParts } from '../support/packed';
import { randomModel } from '../support/random-model';
import { temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();
const shape = { layers: 2, embedding: 40, headSize: 8, feedForward: 72, vocabulary: 50, seed: 2 } as const;
const key = 'blocks.1.ffn.key.weight';
let packed: string;
let fingerprint: string;

beforeAll(async () => {
  const source = await writeTensors(folder, 'source', 'pth', randomModel({ ...shape, type: 'mixed' }));
  packed = await toInt8(source, join(folder, 'packed.safetensors'));
  fingerprint = await withModel(source, {}, ({ info }) => info.fingerprint);
});

let files = 0;
/** The packed file with something changed. */
function changed(change: (parts: PackedParts) => void): string {
  const parts = readParts(packed);
  change(parts);
  const path = join(folder, `changed-${files++}.safetensors`);
  writeParts(path, parts);
  return path;
}

describe('A packed file', () => {
  test('is a sound safetensors: elements without gaps, aligned, and text as metadata', () => {
    const { metadata, entries, data, start } = readParts(packed);
    expect(start % 4096).toBe(0);
    const sorted = Object.values(entries).sort((a, b) => a.data_offsets[0] - b.data_offsets[0]);
    let end = 0;
    for (const entry of sorted) {
      const width = { U8: 1, F32: 4, F16: 2, BF16: 2 }[entry.dtype]!;
      expect(entry.data_offsets[0]).toBe(end);
      expect(entry.data_offsets[1] - end).toBe(entry.shape.reduce((a, b) => a * b, width));
      expect((start + end) % (entry.dtype === 'U8' ? 64 : width)).toBe(0);
      end = entry.data_offsets[1];
    }
    expect(end).toBe(data.length);
    expect(Object.values(metadata).every((value) => typeof value === 'string')).toBe(true);
    expect(metadata).toMatchObject({
      format: 'wkv',
      'wkv.version': '1',
      'wkv.weights': 'int8',
      'wkv.fingerprint': fingerprint,
    });
    const forms = JSON.parse(metadata['wkv.matrices']!) as Record<string, unknown>;
    expect(Object.keys(forms)).toHaveLength(2 * 8 + 1);
    expect(forms[key]).toEqual({ rows: 72, columns: 40, group: 16, weights: 'int8' });
    // Other tensors are as they were.
    expect(entries['emb.weight']).toMatchObject({ dtype: 'BF16', shape: [50, 40] });
    expect(entries['blocks.0.att.time_mix_k']).toMatchObject({ dtype: 'F32', shape: [1, 1, 40] });
    expect(entries[`${key}.input_scales`]).toMatchObject({ dtype: 'F32', shape: [40] });
  });

  test('is opened with its matrices as blocks', async () => {
    const directory = await openTensorDirectory(packed);
    expect(directory.format).toBe('packed safetensors');
    expect(directory.packed).toEqual({ weights: 'int8', fingerprint });
    const block = directory.tensors.find(({ name }) => name === key);
    // Three panels of 32 rows; 48 columns with the padding, and three scales of four bytes.
    expect(block).toMatchObject({ type: 'packed', shape: [72, 40], group: 16, bytes: 96 * (48 + 12) });
    await directory.close();
  });

  test('may be the model of a Hugging Face directory, but no shard of one', async () => {
    const directory = join(folder, 'directory');
    mkdirSync(directory);
    copyFileSync(packed, join(directory, 'model.safetensors'));
    writeFileSync(join(directory, 'config.json'), '{"model_type":"rwkv5"}');
    expect(await withModel(directory, {}, ({ info }) => info.fingerprint)).toBe(fingerprint);
    const names = Object.keys(readParts(packed).entries);
    const index = join(directory, 'model.safetensors.index.json');
    const shards = Object.fromEntries(names.map((name) => [name, 'model.safetensors']));
    writeFileSync(index, JSON.stringify({ weight_map: shards }));
    expectFailure(await rejection(() => loadModel(index)), {
      code: 'ERR_WKV_UNSUPPORTED',
      message: /packed file is a model of its own/,
    });
  });
});

describe('Metadata that is not right', () => {
  type Forms = Record<string, Record<string, unknown>>;
  const inForms = (change: (forms: Forms) => void) => (parts: PackedParts) => {
    const forms = JSON.parse(parts.metadata['wkv.matrices']!) as Forms;
    change(forms);
    parts.metadata['wkv.matrices'] = JSON.stringify(forms);
  };
  const set =
    (name: string, value: string | undefined) =>
    ({ metadata }: PackedParts): void => {
      if (value === undefined) Reflect.deleteProperty(metadata, name);
      else metadata[name] = value;
    };
  const inForm = (name: string, value: unknown) => inForms((forms) => (forms[key]![name] = value));

  test.each<[string, (parts: PackedParts) => void, string, RegExp]>([
    ['no version', set('wkv.version', undefined), 'FORMAT', /nothing as wkv\.version/],
    ['version 0', set('wkv.version', '0'), 'FORMAT', /"0" as wkv\.version/],
    ['version 2', set('wkv.version', '2'), 'UNSUPPORTED', /version 2, which a newer wkv made/],
    ['no weights', set('wkv.weights', undefined), 'FORMAT', /nothing as wkv\.weights/],
    ['plain weights', set('wkv.weights', 'f32'), 'UNSUPPORTED', /packed as "f32"/],
    ['unknown weights', set('wkv.weights', 'int3'), 'UNSUPPORTED', /packed as "int3"/],
    ['no fingerprint', set('wkv.fingerprint', undefined), 'FORMAT', /wkv\.fingerprint/],
    ['a short fingerprint', set('wkv.fingerprint', '0123'), 'FORMAT', /wkv\.fingerprint/],
    ['a fingerprint in capitals', set('wkv.fingerprint', 'A'.repeat(32)), 'FORMAT', /wkv\.fingerprint/],
    ['no matrices', set('wkv.matrices', undefined), 'FORMAT', /nothing as wkv\.matrices/],
    ['matrices that are no JSON', set('wkv.matrices', '{'), 'FORMAT', /wkv\.matrices is damaged/],
    ['matrices in a list', set('wkv.matrices', '[]'), 'FORMAT', /not a JSON object/],
    ['none of the matrices', set('wkv.matrices', '{}'), 'UNSUPPORTED', /of type "U8"/],
    [
      'a matrix that the file does not hold',
      inForms((forms) => (forms['stranger'] = forms[key]!)),
      'FORMAT',
      /the packed matrix "stranger" is missing/,
    ],
    ['another format', set('format', 'pt'), 'UNSUPPORTED', /of type "U8"/],
    ['a matrix without rows', inForm('rows', undefined), 'FORMAT', /no rows of the tensor/],
    ['rows as text', inForm('rows', '72'), 'FORMAT', /no rows of the tensor/],
    ['half a row', inForm('rows', 0.5), 'FORMAT', /no rows of the tensor/],
    ['no columns', inForm('columns', 0), 'FORMAT', /no columns of the tensor/],
    ['huge columns', inForm('columns', 2 ** 40), 'FORMAT', /no columns of the tensor/],
    ['a negative group', inForm('group', -16), 'FORMAT', /no group of the tensor/],
    ['a group of 8', inForm('group', 8), 'FORMAT', /groups of 8 columns/],
    ['a group of 32', inForm('group', 32), 'FORMAT', /a block of \d+ bytes/],
    ['a group of all columns', inForm('group', 0), 'FORMAT', /a block of \d+ bytes/],
    ['other rows', inForm('rows', 71), 'SHAPE', /\[71, 40\]/],
  ])('is refused: %s', async (_what, change, code, message) => {
    const path = changed(change);
    expectFailure(await rejection(() => loadModel(path)), { code: `ERR_WKV_${code}`, message, path });
  });

  test.each<[string, (parts: PackedParts) => void, string]>([
    ['another type', ({ entries }) => (entries[key]!.dtype = 'F32'), 'FORMAT'],
    ['two dimensions', ({ entries }) => entries[key]!.shape.push(1), 'FORMAT'],
    ['fewer bytes than its place', ({ entries }) => (entries[key]!.shape[0]! -= 64), 'FORMAT'],
    ['a place beside it', ({ entries }) => (entries[key]!.data_offsets[0] += 64), 'FORMAT'],
    ['no entry', ({ entries }) => Reflect.deleteProperty(entries, key), 'FORMAT'],
    [
      'another name',
      ({ entries }) => {
        entries['blocks.1.ffn.kez.weight'] = entries[key]!;
        Reflect.deleteProperty(entries, key);
      },
      'UNSUPPORTED',
    ],
  ])('of a block is refused: %s', async (_what, change, code) => {
    const path = changed(change);
    expectFailure(await rejection(() => loadModel(path)), { code: `ERR_WKV_${code}`, path });
  });
});

describe('A damaged packed file', () => {
  const offsetOf = (name: string): number => readParts(packed).entries[name]!.data_offsets[0];
  const float = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return bytes;
  };

  test.each<[string, string, number, Buffer]>([
    ['the code 0', key, 7, Buffer.from([0])],
    ['a scale of NaN', key, 16 * 32, float(NaN)],
    ['an infinite scale', 'head.weight', 16 * 32, float(Infinity)],
    ['a negative scale', 'blocks.0.att.gate.weight', 16 * 32 + 4, float(-1)],
    ['an input scale of 0', `${key}.input_scales`, 4, float(0)],
    ['a negative input scale', `${key}.input_scales`, 4, float(-1)],
    ['an input scale of NaN', `${key}.input_scales`, 4, float(NaN)],
    ['an infinity in the embedding', 'emb.weight', 0, Buffer.from([0x80, 0x7f])],
    ['a NaN in a vector', 'ln_out.weight', 0, float(NaN)],
  ])('is refused, mapped or not: %s', async (_what, tensor, within, bytes) => {
    const path = changed(({ data }) => bytes.copy(data, offsetOf(tensor) + within));
    for (const mmap of [true, false]) {
      const error = await rejection(() => loadModel(path, { mmap }));
      expectFailure(error, { code: 'ERR_WKV_FORMAT', tensor, path });
    }
  });

  test('is refused where it ends early, or goes on', async () => {
    for (const size of [10, 4096, 20_000, readFileSync(packed).length - 1]) {
      const path = changed(() => undefined);
      truncateSync(path, size);
      expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_FORMAT', path });
    }
    const path = changed((parts) => (parts.data = Buffer.concat([parts.data, Buffer.alloc(64)])));
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_FORMAT' });
  });

  test('is refused by an error of this package or loads, whatever the damage', async () => {
    const whole = readFileSync(packed);
    const path = join(folder, 'random.safetensors');
    let seed = 1;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    const outcomes = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const bytes = Buffer.from(whole);
      // Half of them in the header.
      const place = random(i % 2 === 0 ? 12_000 : bytes.length);
      bytes[place] = random(256);
      writeFileSync(path, i % 10 === 0 ? bytes.subarray(0, place) : bytes);
      try {
        const model = await loadModel(path, { mmap: i % 3 !== 0, threads: 1 });
        await model.createSession().evaluate([1]);
        await model.dispose();
        outcomes.add('loaded');
      } catch (error) {
        if (!(error instanceof WkvError)) throw error;
        outcomes.add(error.code);
      }
    }
    expect([...outcomes].sort()).toEqual(expect.arrayContaining(['ERR_WKV_FORMAT', 'loaded']));
  }, 60_000);
});
