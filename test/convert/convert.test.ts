import { cpSync, existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  convertModel,
  demoModel,
  loadModel,
  State,
  type ConvertOptions,
  type LoadOptions,
} from '../../lib/index';
import { smallShape, withModel, writeTensors } from '../support/model';
import { callUnchecked, expectFailure, invalidArgument, outOfRange, rejection } from '../support/failure';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { resultsOf, toInt8 } from '../support/packed';
import { writePth } from '../support/pth-writer';
import { randomModel, randomTokens } from '../support/random-model';
import { writeHuggingFaceDirectory } from '../support/safetensors-writer';
import { temporaryFiles } from '../formats/support';
import { int8, useConversions } from './support';

const { folder, source, output } = useConversions();
/** Expects that the packed file computes, mapped and copied, what its source does in int8. */
async function expectSameResults(source: string, packed: string, tokens: Uint32Array): Promise<void> {
  const expected = await resultsOf(source, int8, tokens);
  for (const mmap of [true, false]) {
    const { logits, fingerprint } = await resultsOf(packed, { mmap }, tokens);
    expect(fingerprint).toBe(expected.fingerprint);
    expect(logits.equals(expected.logits)).toBe(true);
  }
}

describe('convertModel', () => {
  test('packs the embedded model, which then gives the same bits', async () => {
    const { path } = output();
    const conversion = await convertModel(demoModel, path, int8);
    const { fingerprint } = await withModel(demoModel, {}, ({ info }) => info);
    expect(conversion).toEqual({ path, weights: 'int8', bytes: statSync(path).size, fingerprint });
    const tokens = Uint32Array.from(Buffer.from('User: Tell me a story about a fox.\n\nAssistant:'));
    await expectSameResults(demoModel, path, tokens);
    const [original, packed] = [
      await withModel(demoModel, int8, ({ info }) => info),
      await withModel(path, {}, ({ info }) => info),
    ];
    expect(packed).toEqual(original);
  });

  test('packs as int4, with the head as it is kept, too', async () => {
    const { path } = output();
    const int4 = { weights: 'int4' } as const;
    await convertModel(demoModel, path, int4);
    const infoOf = (file: string, options: object): Promise<unknown> =>
      withModel(file, options, ({ info }) => info);
    expect(await infoOf(path, {})).toEqual(await infoOf(demoModel, int4));
    const tokens = randomTokens(40, 256, 5);
    const expected = await resultsOf(demoModel, int4, tokens);
    for (const mmap of [true, false]) {
      expect((await resultsOf(path, { mmap }, tokens)).logits.equals(expected.logits)).toBe(true);
    }
  });

  test('a gated RWKV-5 with time_first stays what it is, in every kind of weights', async () => {
    const own = { layers: 2, embedding: 32, headSize: 8, feedForward: 64, vocabulary: 300 };
    const tensors = randomModel({ ...own, version: '5.1', timeFirst: true, type: 'f32', seed: 2 });
    const original = await writeTensors(folder, 'first', 'pth', tensors);
    const tokens = randomTokens(30, 300, 5);
    for (const weights of ['f32', 'int8', 'int4'] as const) {
      const { path } = output();
      await convertModel(original, path, { weights });
      const expected = await resultsOf(original, { weights }, tokens);
      expect((await resultsOf(path, { weights }, tokens)).logits.equals(expected.logits)).toBe(true);
    }
  });

  test('takes relative paths as they are when it is called, and so does loadModel', async () => {
    const before = process.cwd();
    const { place, path } = output();
    cpSync(demoModel, join(place, 'relative.pth'));
    try {
      process.chdir(place);
      const conversion = convertModel('relative.pth', 'converted.safetensors', int8);
      const loading = loadModel('relative.pth');
      process.chdir(before);
      await conversion;
      await (await loading).dispose();
    } finally {
      process.chdir(before);
    }
    expect(existsSync(path)).toBe(true);
  });

  test.each(['f32', 'bf16', 'mixed'] as const)(
    'makes the same file of the same %s weights, whatever held them',
    async (type) => {
      // Neither rows nor columns fill panels.
      const tensors = randomModel({
        ...{ layers: 2, embedding: 40, headSize: 8, feedForward: 70, vocabulary: 300, type, seed: 9 },
      });
      const files: Buffer[] = [];
      const convert = async (input: string | URL): Promise<string> => {
        const { path } = output();
        await convertModel(input, pathToFileURL(path), int8);
        files.push(readFileSync(path));
        return path;
      };
      const pth = await writeTensors(folder, `of-${type}`, 'pth', tensors);
      const packed = await convert(pth);
      await convert(pathToFileURL(await writeTensors(folder, `of-${type}`, 'safetensors', tensors)));
      for (const shards of [1, 3]) {
        const directory = join(folder, `of-${type}-${shards}`);
        await writeHuggingFaceDirectory(directory, tensors, { shards, config: { model_type: 'rwkv5' } });
        await convert(directory);
      }
      for (const file of files) expect(file.equals(files[0]!)).toBe(true);
      await expectSameResults(pth, packed, randomTokens(30, 300, 4));
    },
  );

  test('keeps states: those of the original and of the packed model fit each other', async () => {
    const { path } = output();
    await toInt8(source, path);
    const goOn = async (of: string, options: LoadOptions, from?: Uint8Array) =>
      await withModel(of, options, async (model) => {
        const session = model.createSession(from ? { state: State.deserialize(from) } : {});
        await session.evaluate([1, 2, 3]);
        return { values: session.state.values(), bytes: session.state.serialize() };
      });
    const packed = await goOn(path, {});
    const original = await goOn(source, int8);
    expect(original.values).toEqual(packed.values);
    const [there, back] = [await goOn(source, int8, packed.bytes), await goOn(path, {}, original.bytes)];
    expect(there.values).toEqual(back.values);
    expect(there.values).not.toEqual(packed.values);
    // In another precision, too.
    await goOn(source, { weights: 'f32' }, packed.bytes);
  });

  test('gives the same file with any number of threads, and says how far it is', async () => {
    const { path } = output();
    await convertModel(source, path, int8);
    const expected = readFileSync(path);
    const reports: { phase: string; completed: number; total: number }[] = [];
    await convertModel(source, path, {
      ...int8,
      ...{ threads: 1, overwrite: true, onProgress: (report) => reports.push(report) },
    });
    expect(readFileSync(path).equals(expected)).toBe(true);
    const last = reports.at(-1)!;
    expect(last.phase).toBe('convert');
    expect(last.completed).toBe(last.total);
    // All numbers of the small model, in f32.
    expect(last.total).toBe(4 * (await withModel(source, {}, ({ info }) => info.parameters)));
  });

  test('loads only as what it is packed as', async () => {
    const { path } = output();
    await toInt8(source, path);
    expect(await withModel(path, int8, ({ info }) => info.weights)).toBe('int8');
    for (const weights of ['f32', 'f16', 'bf16'] as const) {
      expectFailure(await rejection(() => loadModel(path, { weights })), {
        code: 'ERR_WKV_UNSUPPORTED',
        message: /packed as int8 .* convert the file that it was made from/,
        path,
      });
    }
  });

  test('leaves nothing of what it unpacks', async () => {
    const { place, path } = output();
    const compressed = join(place, 'compressed.pth');
    await writePth(compressed, randomModel(smallShape), { compression: 'deflated' });
    const before = temporaryFiles();
    await convertModel(compressed, path, int8);
    expect(temporaryFiles()).toEqual(before);
  });

  test('refuses a packed file', async () => {
    const { place, path } = output();
    await toInt8(source, path);
    expectFailure(await rejection(() => convertModel(path, join(place, 'again'), int8)), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', message: /packed already, as int8/, path },
    });
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
  });

  test('checks its arguments', async () => {
    const { place, path } = output();
    const calling = async (...parameters: unknown[]): Promise<unknown> =>
      await rejection(() => callUnchecked({ convertModel }, 'convertModel', parameters));
    expectFailure(
      await calling(source, path),
      invalidArgument(
        /options\.weights: expected one of 'f32', 'f16', 'bf16', 'int8', 'int4', found undefined/,
      ),
    );
    expectFailure(await calling(source, path, {}), invalidArgument(/options\.weights/));
    for (const [options, failure] of [
      [
        { weights: 'auto' },
        invalidArgument(/options\.weights: expected one of 'f32', 'f16', 'bf16', 'int8', 'int4'/),
      ],
      [{ ...int8, threads: 0 }, outOfRange(/options\.threads/)],
      [{ ...int8, overwrite: 'yes' }, invalidArgument(/options\.overwrite: expected a boolean/)],
      [{ ...int8, onProgress: 1 }, invalidArgument(/options\.onProgress: expected a function/)],
      [{ ...int8, signal: {} }, invalidArgument(/options\.signal/)],
      [{ ...int8, force: true }, invalidArgument(/options\.force: there is no such option/)],
    ] as const) {
      expectFailure(await calling(source, path, options satisfies object), failure);
    }
    expectFailure(await calling(source, '', int8), invalidArgument(/output: expected a non-empty path/));
    expectFailure(await calling(source, 5, int8), invalidArgument(/output: expected a non-empty path/));
    expectFailure(await calling('', path, int8), invalidArgument(/input: expected a non-empty path/));
    expectFailure(await calling(join(place, 'none'), path, int8 satisfies ConvertOptions), {
      code: 'ERR_WKV_FORMAT',
      message: /no such file/,
    });
    expectFailure(await rejection(() => callUnchecked({ loadModel }, 'loadModel', [source, { mmap: 1 }])), {
      ...invalidArgument(/options\.mmap: expected a boolean/),
    });
    expect(readdirSync(place)).toEqual([]);
  });
});

describeWithFixtures('convertModel of trained models', () => {
  test.each(['tiny.bf16.pth', 'tiny.bf16.legacy.pth', 'tiny.fp16.safetensors', 'tiny.fp32.pth', 'hf-bf16'])(
    'packs %s, which then gives the same bits',
    async (name) => {
      const { path } = output();
      const source = fixturePath('v5.2', name);
      await toInt8(source, path);
      const { vocabulary } = await withModel(path, {}, ({ info }) => info);
      await expectSameResults(source, path, randomTokens(40, vocabulary, 6));
    },
  );
});
