import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel, demoModel, type ConvertOptions } from '../../lib/index';
import { smallShape, withModel, writeTensors } from '../support/model';
import { writeEmptyModel } from '../support/empty-model';
import { expectFailure, rejection } from '../support/failure';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { encodeFloats } from '../support/float16';
import { asFlashLinearAttention, asTransformersRwkv, asWebRwkv } from '../support/foreign-names';
import { readParts, resultsOf, unfinished } from '../support/packed';
import { writePth, type WritableTensor } from '../support/pth-writer';
import { readTensors } from '../support/read-tensors';
import { randomModel, randomNumbers, randomTokens, versions } from '../support/random-model';
import { smallModelOf } from '../support/small-models';
import { writeHuggingFaceDirectory, writeSafetensors } from '../support/safetensors-writer';
import { useConversions } from './support';

const { folder, source, output } = useConversions();
const types = ['f32', 'f16', 'bf16'] as const;
type Type = (typeof types)[number];

/** Converts, and returns the file's bytes. */
async function converted(input: string, weights: Type, threads?: number): Promise<Buffer> {
  const { place, path } = output();
  const conversion = await convertModel(input, path, { weights, ...(threads ? { threads } : {}) });
  expect(conversion).toEqual({ path, weights, bytes: statSync(path).size });
  expect(readdirSync(place)).toEqual(['converted.safetensors']);
  return readFileSync(path);
}

/** What the file says, by the rules of safetensors alone: each tensor's shape and bytes. */
function contents(file: Buffer): Map<string, { shape: number[]; bytes: Buffer }> {
  const { path } = output();
  writeFileSync(path, file);
  const { entries, data } = readParts(path);
  return new Map(
    Object.entries(entries).map(
      ([
        name,
        {
          shape,
          data_offsets: [begin, end],
        },
      ]) => [name, { shape, bytes: data.subarray(begin, end) }],
    ),
  );
}

function expectTensors(file: Buffer, type: Type, tensors: readonly WritableTensor[]): void {
  const found = contents(file);
  expect([...found.keys()]).toEqual(tensors.map(({ name }) => name).sort());
  for (const { name, shape, data } of tensors) {
    const { shape: foundShape, bytes } = found.get(name)!;
    expect({ name, shape: foundShape }).toEqual({ name, shape: [...shape] });
    expect({ name, isSame: bytes.equals(encodeFloats(type, data)) }).toEqual({ name, isSame: true });
  }
}

async function one(name: string, tensor: Partial<WritableTensor>): Promise<string> {
  const path = join(folder, `${name}.pth`);
  const data = tensor.data ?? [1];
  await writePth(path, [
    { name: 'blocks.0.att.key.weight', type: 'f32', shape: [data.length], data, ...tensor },
  ]);
  return path;
}

const norm: WritableTensor = { name: 'ln', type: 'f32', shape: [2], data: [1, -2] };

describe('convertModel to f32, f16 or bf16', () => {
  test.each(types)('writes the tensors of every version as %s', async (type) => {
    for (const version of versions) {
      const model = smallModelOf(version);
      const path = join(folder, `v${version}-${type}.pth`);
      await writePth(path, model);
      expectTensors(await converted(path, type), type, model);
    }
  });

  test('writes the tensors of versions that cannot be loaded', async () => {
    // Of RWKV-7b, RWKV-8, and one that there is not.
    const parts = ['qkv.q.weight', 'rosa.emb.weight', 'ffn.enn.weight', 'ln3.weight', 'new'];
    const model = [...smallModelOf('7'), ...parts.map((part) => ({ ...norm, name: `blocks.1.${part}` }))];
    const path = join(folder, 'v8.pth');
    await writePth(path, model);
    for (const type of types) expectTensors(await converted(path, type), type, model);
  });

  test.each([
    'rosa.emb.weight',
    'blocks.x.att.key.weight',
    'blocks.0',
    'headless.weight',
    'h.blocks.0.att.key',
  ])('refuses what no version has: %s', async (name) => {
    const path = await one('stranger', { name });
    expectFailure(await rejection(() => convertModel(path, output().path, { weights: 'f32' })), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', tensor: name, message: /this is no RWKV model/ },
    });
  });

  test('writes the same file whatever held the tensors, and under whatever names', async () => {
    const files = new Map<string, Buffer>();
    const add = async (name: string, path: string): Promise<void> => {
      files.set(name, await converted(path, 'f32'));
    };
    const six = smallModelOf('6');
    await writeSafetensors(join(folder, '6.safetensors'), six);
    await add('6 own', join(folder, '6.safetensors'));
    await writeHuggingFaceDirectory(join(folder, 'hf-6'), six, { shards: 2 });
    await add('6 transformers', join(folder, 'hf-6'));
    await writeSafetensors(join(folder, '6.st'), asWebRwkv(six));
    await add('6 web-rwkv', join(folder, '6.st'));
    const seven = smallModelOf('7').filter(({ name }) => !/^blocks\.0\.att\.v[012]$/.test(name));
    await writePth(join(folder, '7.pth'), seven);
    await add('7 own', join(folder, '7.pth'));
    await writeSafetensors(join(folder, '7-fla.safetensors'), asFlashLinearAttention(seven));
    await add('7 fla', join(folder, '7-fla.safetensors'));
    await writeSafetensors(join(folder, '7-rs.safetensors'), asTransformersRwkv(seven));
    await add('7 transformers-rwkv', join(folder, '7-rs.safetensors'));
    await writeSafetensors(join(folder, '7.st'), asWebRwkv(seven));
    await add('7 web-rwkv', join(folder, '7.st'));
    for (const [name, file] of files) {
      expect({ name, isSame: file.equals(files.get(`${name[0]} own`)!) }).toEqual({ name, isSame: true });
    }
  });

  test('rounds to nearest, ties to even, from every type to every other', async () => {
    const random = randomNumbers(5);
    // Of all magnitudes that f16 has and some below, halfway cases among them.
    const numbers = Float32Array.from({ length: 4000 }, (_, i) => {
      const magnitude = 2 ** (Math.floor(random() * 44) - 29);
      const digits = i % 2 === 0 ? 1 + random() : 1 + Math.floor(random() * 4096) / 4096;
      return (random() < 0.5 ? -1 : 1) * magnitude * digits;
    });
    for (const from of types) {
      const path = await one(`rounding-${from}`, { type: from, data: numbers });
      const stored = contents(await converted(path, from)).get('blocks.0.att.key.weight')!.bytes;
      expect(stored.equals(encodeFloats(from, numbers))).toBe(true);
      const exact = contents(await converted(path, 'f32')).get('blocks.0.att.key.weight')!.bytes;
      const values = new Float32Array(new Uint8Array(exact).buffer);
      expect(encodeFloats(from, values).equals(stored)).toBe(true);
      for (const to of types) {
        const found = contents(await converted(path, to)).get('blocks.0.att.key.weight')!.bytes;
        expect(found.equals(encodeFloats(to, values))).toBe(true);
      }
    }
  });

  test('refuses what would become infinite, naming the tensor, and takes what just does not', async () => {
    const least = await one('least', { data: [1, 65519.99, -65519.99] });
    expectTensors(await converted(least, 'f16'), 'f16', [
      { name: 'blocks.0.att.key.weight', type: 'f16', shape: [3], data: [1, 65504, -65504] },
    ]);
    for (const [type, number] of [
      ['f16', 65520],
      ['bf16', 3.4e38],
    ] as const) {
      const { place, path } = output();
      const large = await one(`large-${type}`, { data: [1, 2, -number] });
      expectFailure(await rejection(() => convertModel(large, path, { weights: type })), {
        code: 'ERR_WKV_UNSUPPORTED',
        ...{ tensor: 'blocks.0.att.key.weight', message: /'f32'/, found: /at element 2$/, path: large },
      });
      expect(readdirSync(place)).toEqual([]);
    }
  });

  test('refuses NaN and infinity in whatever type', async () => {
    for (const number of [NaN, Infinity, -Infinity]) {
      const path = await one('damaged', { data: [1, 2, number] });
      expectFailure(await rejection(() => convertModel(path, output().path, { weights: 'f32' })), {
        ...{ code: 'ERR_WKV_FORMAT', tensor: 'blocks.0.att.key.weight', message: /element 2/ },
      });
    }
  });

  test('writes tensors in order however they lie: turned, with gaps, expanded, in three strides', async () => {
    const data = Float32Array.from({ length: 5 * 4 * 6 }, (_, index) => index + 1);
    const base = { type: 'f32', storage: 'all', data } as const;
    const cases: [string, number[], number[]][] = [
      ['turned', [6, 20], [1, 6]],
      ['gaps', [5, 7], [24, 1]],
      ['every second', [10, 3], [12, 2]],
      ['expanded', [4, 6], [0, 1]],
      ['one row', [1, 1, 6], [500, 7, 1]],
      ['three strides', [5, 6, 4], [24, 1, 6]],
      ['four strides', [2, 3, 2, 4], [24, 2, 1, 6]],
      ['scalar', [], []],
    ];
    const tensors = cases.map(([name, shape, strides]): WritableTensor => {
      return { ...base, name: `blocks.0.att.${name}`, shape, strides };
    });
    const path = join(folder, 'strides.pth');
    await writePth(path, tensors);
    const expected = cases.map(([name, shape, strides]): WritableTensor => {
      let places = [0];
      for (const [axis, size] of shape.entries()) {
        places = places.flatMap((place) =>
          Array.from({ length: size }, (_, i) => place + i * strides[axis]!),
        );
      }
      return { ...base, name: `blocks.0.att.${name}`, shape, data: places.map((place) => data[place]!) };
    });
    for (const type of types) expectTensors(await converted(path, type), type, expected);
  });

  test('refuses more parts than it has memory for, in whatever tensors they are', async () => {
    const irregular = (count: number): WritableTensor[] =>
      Array.from({ length: count }, (_, i) => ({
        ...{ name: `blocks.0.att.t${i}`, type: 'f32', storage: 'all', data: new Float32Array(4002) },
        ...{ shape: [4000, 2, 2], strides: [1, 0, 1] },
      }));
    const path = join(folder, 'irregular.pth');
    await writePth(path, irregular(16));
    expect((await converted(path, 'f32')).length).toBeGreaterThan(16 * 4000 * 16);
    await writePth(path, irregular(17));
    expectFailure(await rejection(() => convertModel(path, output().path, { weights: 'f32' })), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', message: /t16 is laid out too irregularly/, path },
    });
  });

  test('writes tensors of more than a piece, with any number of threads', async () => {
    const random = randomNumbers(6);
    const numbers = Float32Array.from({ length: 700_001 }, () => random() - 0.5);
    const tensors: WritableTensor[] = [
      { name: 'emb.weight', type: 'f32', shape: [700_001], data: numbers },
      { name: 'head.weight', type: 'f32', shape: [700, 1000], data: numbers.subarray(0, 700_000) },
      // Rows that are too long for a piece, with gaps between them.
      { name: 'ln_out.weight', type: 'f32', shape: [2, 300_000], strides: [350_000, 1], data: numbers },
    ];
    const path = join(folder, 'large.pth');
    await writePth(path, tensors);
    const gapped = Float32Array.from([...numbers.subarray(0, 3e5), ...numbers.subarray(35e4, 65e4)]);
    const expected = [...tensors.slice(0, 2), { ...tensors[2]!, data: gapped }];
    for (const type of ['f32', 'bf16'] as const) {
      const file = await converted(path, type, 1);
      expectTensors(file, type, expected);
      expect((await converted(path, type, 4)).equals(file)).toBe(true);
    }
  });

  test('to the type that the weights have keeps their fingerprint, and what they compute', async () => {
    const { path } = output();
    await convertModel(demoModel, path, { weights: 'f16' });
    const own = await withModel(demoModel, {}, ({ info }) => info);
    const tokens = randomTokens(20, own.vocabulary, 3);
    const expected = await resultsOf(path, { weights: 'f32' }, tokens);
    const again = output().path;
    await convertModel(path, again, { weights: 'f16' });
    expect(readFileSync(again).equals(readFileSync(path))).toBe(true);
    const wider = output().path;
    await convertModel(path, wider, { weights: 'f32' });
    const found = await resultsOf(wider, { weights: 'f32' }, tokens);
    expect(found.logits.equals(expected.logits)).toBe(true);
    expect((await resultsOf(again, {}, tokens)).fingerprint).toBe(expected.fingerprint);
    const same = output().path;
    await convertModel(source, same, { weights: 'f32' });
    expect((await resultsOf(same, {}, randomTokens(9, smallShape.vocabulary, 1))).fingerprint).toBe(
      (await resultsOf(source, {}, randomTokens(9, smallShape.vocabulary, 1))).fingerprint,
    );
  });

  test.each([
    ['a NUL', 'a\0b'],
    ['half of a character', '\ud800'],
    ['a thousand letters', 'a'.repeat(1000)],
  ])('refuses a tensor in whose name is %s', async (_what, end) => {
    const name = `blocks.0.att.${end}`;
    const path = join(folder, 'misnamed.safetensors');
    await writeSafetensors(path, [{ name, type: 'f32', shape: [1], data: [1] }]);
    expectFailure(await rejection(() => convertModel(path, output().path, { weights: 'f32' })), {
      ...{ code: 'ERR_WKV_FORMAT', message: /a tensor is called "blocks.0.att./, path },
    });
  });

  test('refuses what is no RWKV model, and what is packed', async () => {
    const other = await one('other', { name: 'model.layers.0.self_attn.q_proj.weight' });
    expectFailure(await rejection(() => convertModel(other, output().path, { weights: 'f32' })), {
      code: 'ERR_WKV_UNSUPPORTED',
      ...{ message: /no RWKV model/, tensor: 'model.layers.0.self_attn.q_proj.weight', path: other },
    });
    const { path } = output();
    await convertModel(source, path, { weights: 'int8' });
    expectFailure(await rejection(() => convertModel(path, output().path, { weights: 'f32' })), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', message: /packed already, as int8/, path },
    });
  });

  test('says how far it is', async () => {
    const tensors = randomModel(smallShape);
    const source = await writeTensors(folder, 'progress', 'pth', tensors);
    const reports: { completed: number; total: number }[] = [];
    await convertModel(source, output().path, {
      weights: 'bf16',
      onProgress: (report) => reports.push(report),
    });
    const total = 4 * tensors.reduce((sum, { data }) => sum + data.length, 0);
    expect(reports.at(-1)).toEqual({ phase: 'convert', completed: total, total });
  });

  test('that is called off midway leaves nothing, and what was there as it was', async () => {
    const large = join(folder, 'empty.safetensors');
    writeEmptyModel(large, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
    const { place, path } = output();
    writeFileSync(path, 'precious');
    const controller = new AbortController();
    const reason = new Error('enough');
    let seen: string[] = [];
    const options: ConvertOptions = {
      ...({ weights: 'f16', overwrite: true, threads: 1 } as const),
      signal: controller.signal,
      onProgress: ({ completed, total }) => {
        expect(completed).toBeLessThan(total);
        // A report that was under way may still arrive.
        if (!controller.signal.aborted) seen = unfinished(place);
        controller.abort(reason);
      },
    };
    expect(await rejection(() => convertModel(large, path, options))).toBe(reason);
    expect(seen).toHaveLength(1);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
  });
});

describeWithFixtures('convertModel of trained models', () => {
  test.each([
    ['v4', 'f16', ['tiny.fp16.pth', 'hf-fp16']],
    ['v5.2', 'bf16', ['tiny.bf16.safetensors', 'tiny.bf16.legacy.pth', 'hf-bf16']],
  ] as const)('of %s writes %s of whatever held the weights, the same file', async (version, type, names) => {
    const files: Buffer[] = [];
    for (const name of names) files.push(await converted(fixturePath(version, name), type));
    for (const file of files) expect(file.equals(files[0]!)).toBe(true);
    const source = fixturePath(version, names[0]);
    const told = (name: string, shape: readonly number[], bytes: Buffer): string =>
      `${name} [${shape.join()}] ${bytes.toString('base64')}`;
    const stored = [...(await readTensors(source)).values()].map(({ name, shape, bytes }) =>
      told(name, shape, bytes),
    );
    const written = [...contents(files[0]!)].map(([name, { shape, bytes }]) => told(name, shape, bytes));
    expect(written.sort()).toEqual(stored.sort());
  });
});
