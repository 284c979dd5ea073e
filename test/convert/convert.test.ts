import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import promises from 'node:fs/promises';
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
import { smallShape, temporaryFolder, withModel, writeRandomModel, writeTensors } from '../model/support';
import { writeEmptyModel } from '../support/empty-model';
import { callUnchecked, expectFailure, invalidArgument, outOfRange, rejection } from '../support/failure';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { resultsOf, toInt8, unfinished } from '../support/packed';
import { randomModel, randomTokens, type RandomModelShape } from '../support/random-model';
import { writeHuggingFaceDirectory } from '../support/safetensors-writer';
import { onWindows, unless } from '../support/unless';

const folder = temporaryFolder();
const int8 = { weights: 'int8' } as const;
const tinyShape: RandomModelShape = {
  layers: 1,
  embedding: 16,
  headSize: 4,
  feedForward: 24,
  vocabulary: 20,
  type: 'bf16',
  seed: 1,
};
const testLinks = unless(onWindows('links need privileges there'));
const testModes = unless(onWindows('Windows has no such permissions'));
const testPosix = unless(onWindows('Windows replaces no file that is open'));

const testOnLinux = unless(process.platform !== 'linux' && 'only Linux has /proc');

let outputs = 0;
/** A folder of its own, so that whatever is left can be seen, and a file to be there. */
function output(): { place: string; path: string } {
  const place = join(folder, `output-${outputs++}`);
  mkdirSync(place);
  return { place, path: join(place, 'packed.safetensors') };
}

/** A model that takes seconds to convert, and no room on the disk. */
function writeLargeModel(): string {
  const path = join(folder, 'large.safetensors');
  if (!existsSync(path)) {
    writeEmptyModel(path, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
  }
  return path;
}

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
  let source: string;
  beforeAll(async () => {
    source = await writeRandomModel(folder, 'source');
  });

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
      const conversion = convertModel('relative.pth', 'packed.safetensors', int8);
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

  test('replaces a file only where it is told to', async () => {
    const { place, path } = output();
    writeFileSync(path, 'precious');
    expectFailure(await rejection(() => convertModel(source, path, int8)), {
      ...{ code: 'EEXIST', message: /exists; the option overwrite/, path },
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await convertModel(source, path, { ...int8, overwrite: true });
    expect(await withModel(path, {}, ({ info }) => info.weights)).toBe('int8');
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  testModes('keeps the permissions of what it replaces', async () => {
    const { path } = output();
    writeFileSync(path, 'old');
    for (const mode of [0o666, 0o600]) {
      chmodSync(path, mode);
      await convertModel(source, path, { ...int8, overwrite: true });
      expect(statSync(path).mode & 0o777).toBe(mode);
    }
  });

  testLinks('follows a link to what it replaces', async () => {
    const { place, path } = output();
    writeFileSync(path, 'old');
    symlinkSync(path, join(place, 'link'));
    const { path: written } = await convertModel(source, join(place, 'link'), { ...int8, overwrite: true });
    expect(written).toBe(path);
    expect(lstatSync(join(place, 'link')).isSymbolicLink()).toBe(true);
    expect(await withModel(path, {}, ({ info }) => info.weights)).toBe('int8');
  });

  testLinks('refuses a link that leads nowhere', async () => {
    const { place } = output();
    const link = join(place, 'link');
    symlinkSync(join(place, 'target'), link);
    for (const overwrite of [false, true]) {
      expectFailure(await rejection(() => convertModel(source, link, { ...int8, overwrite })), {
        ...{
          code: 'ENOENT',
          message: /cannot be written: it is a link to a file that is not there/,
          path: link,
        },
      });
    }
    expect(readdirSync(place)).toEqual(['link']);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });

  test('does not write over its input, or a shard of it', async () => {
    const onto = async (input: string, path: string): Promise<void> => {
      const before = readFileSync(path);
      expectFailure(await rejection(() => convertModel(input, path, { ...int8, overwrite: true })), {
        ...{ code: 'ERR_INVALID_ARG_VALUE', message: /is a file of the model/ },
      });
      expect(readFileSync(path).equals(before)).toBe(true);
    };
    await onto(source, source);
    const hard = join(folder, 'hard-link.pth');
    linkSync(source, hard);
    await onto(source, hard);
    const directory = join(folder, 'shards');
    await writeHuggingFaceDirectory(directory, randomModel(tinyShape), { shards: 2 });
    await onto(directory, join(directory, 'model-00002-of-00002.safetensors'));
  });

  test('refuses a packed file', async () => {
    const { place, path } = output();
    await toInt8(source, path);
    expectFailure(await rejection(() => convertModel(path, join(place, 'again'), int8)), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', message: /packed already, as int8/, path },
    });
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  test('refuses places where no file can be', async () => {
    const { place } = output();
    const at = (path: string) => rejection(() => convertModel(source, path, { ...int8, overwrite: true }));
    expectFailure(await at(place), { code: 'EISDIR', path: place });
    const inFile = join(source, 'a');
    // Windows says that there is nothing.
    const code = process.platform === 'win32' ? 'ENOENT' : 'ENOTDIR';
    expectFailure(await at(inFile), { code, path: inFile, message: /cannot be written: / });
    expectFailure(await at(join(place, 'directory/')), {
      ...{
        code: 'ENOENT',
        path: join(place, 'directory'),
        message: /cannot be written: there is no such directory/,
      },
    });
    const nowhere = join(place, 'nothing', 'a');
    expectFailure(await at(nowhere), { code: 'ENOENT', path: nowhere, message: /cannot be written/ });
    if (process.platform !== 'win32') expectFailure(await at('/dev/null'), { code: 'EINVAL' });
    expect(readdirSync(place)).toEqual([]);
  });

  test('refuses what the disk has no room for before it writes anything', async () => {
    const huge = join(folder, 'huge.safetensors');
    writeEmptyModel(huge, { layers: 1, embedding: 4096, feedForward: 64, vocabulary: 2 ** 24 });
    const { place, path } = output();
    // A disk of which 5 GiB are free; this one may be larger than any model.
    const disk = await promises.statfs(place);
    const free = Object.assign(disk, { bavail: (5 * 2 ** 30) / disk.bsize });
    const statfs = jest.spyOn(promises, 'statfs').mockResolvedValue(free);
    const error = await rejection(() => convertModel(huge, path, int8));
    statfs.mockRestore();
    expectFailure(error, {
      ...{
        code: 'ERR_WKV_MEMORY',
        message: /takes \d+\.\d GiB, but the disk has only 5\.0 GiB free/,
        path,
      },
    });
    expect(readdirSync(place)).toEqual([]);
    unlinkSync(huge);
  });

  testOnLinux('does not take a place that does not say how much room it has for a full one', async () => {
    expectFailure(await rejection(() => convertModel(source, '/proc/wkv', int8)), {
      ...{ path: '/proc/wkv', message: /cannot be written/ },
    });
  });

  test('that fails leaves nothing, and what was there as it was', async () => {
    const tensors = randomModel(tinyShape);
    tensors.find(({ name }) => name === 'head.weight')!.data[5] = NaN;
    const damaged = await writeTensors(folder, 'damaged', 'pth', tensors);
    const { place, path } = output();
    writeFileSync(path, 'precious');
    expectFailure(await rejection(() => convertModel(damaged, path, { ...int8, overwrite: true })), {
      ...{ code: 'ERR_WKV_FORMAT', tensor: 'head.weight', path: damaged },
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  test('that is called off midway leaves nothing, and what was there as it was', async () => {
    const large = writeLargeModel();
    const { place, path } = output();
    writeFileSync(path, 'precious');
    const controller = new AbortController();
    const reason = new Error('enough');
    let seen: string[] = [];
    const began = convertModel(large, path, {
      ...int8,
      overwrite: true,
      signal: controller.signal,
      onProgress: ({ completed, total }) => {
        expect(completed).toBeLessThan(total);
        seen = unfinished(place);
        controller.abort(reason);
      },
    });
    expect(await rejection(() => began)).toBe(reason);
    expect(seen).toHaveLength(1);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  test('is ended by what onProgress throws, and by a signal that is aborted already', async () => {
    const large = writeLargeModel();
    const { place, path } = output();
    const reason = new Error('thrown');
    const onProgress = (): never => {
      throw reason;
    };
    expect(await rejection(() => convertModel(large, path, { ...int8, onProgress }))).toBe(reason);
    const signal = AbortSignal.abort(reason);
    expect(await rejection(() => convertModel(large, path, { ...int8, signal }))).toBe(reason);
    expect(readdirSync(place)).toEqual([]);
  });

  test('to one file twice at once: one is refused, however close they are', async () => {
    const { place, path } = output();
    const both = await Promise.allSettled([
      convertModel(source, path, int8),
      convertModel(source, path, { weights: 'f32' }),
    ]);
    const [written] = both.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
    const refusals = both.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    expect(refusals).toHaveLength(1);
    expectFailure(refusals[0], { code: 'EEXIST', message: /exists; the option overwrite/, path });
    expect(statSync(path).size).toBe(written!.bytes);
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  test('keeps what comes to its place meanwhile, unless it is to be replaced', async () => {
    for (const weights of ['int8', 'f32'] as const) {
      const { place, path } = output();
      let came = 0;
      const conversion = (options: Partial<ConvertOptions>): Promise<unknown> =>
        convertModel(source, path, {
          weights,
          ...options,
          onProgress: () => {
            try {
              writeFileSync(path, 'precious', { flag: 'wx' });
              came += 1;
            } catch (error) {
              // It came before, or the file has its name already.
              expectFailure(error, { code: 'EEXIST' });
            }
          },
        });
      /** Where all reports came when it was over, it is tried again. */
      const meanwhile = async (options: Partial<ConvertOptions>): Promise<unknown> => {
        const before = came;
        for (;;) {
          const error: unknown = await conversion(options).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          if (came > before) return error;
          unlinkSync(path);
        }
      };
      const during = await meanwhile({});
      expectFailure(during, { code: 'EEXIST', message: /exists; the option overwrite/, path });
      const atTheBeginning = await rejection(() => conversion({}));
      expect((during as Error).message).toBe((atTheBeginning as Error).message);
      expect(readFileSync(path, 'utf8')).toBe('precious');
      expect(readdirSync(place)).toEqual(['packed.safetensors']);
      unlinkSync(path);
      expect(await meanwhile({ overwrite: true })).toBeUndefined();
      expect(statSync(path).size).toBeGreaterThan(1000);
    }
  });

  test('to one file twice at once, to replace it: both are whole, and the last one stays', async () => {
    const other = await writeRandomModel(folder, 'other', { ...smallShape, seed: 11 });
    const { place, path } = output();
    const replacing = { ...int8, overwrite: true };
    const both = await Promise.all([
      convertModel(source, path, replacing),
      convertModel(other, path, replacing),
    ]);
    const stayed = await withModel(path, {}, ({ info }) => info.fingerprint);
    expect(both.map(({ fingerprint }) => fingerprint)).toContain(stayed);
    expect(readdirSync(place)).toEqual(['packed.safetensors']);
  });

  testPosix('may replace the file of a model that is in use', async () => {
    const { place, path } = output();
    await toInt8(source, path);
    await withModel(path, {}, async (model) => {
      const logits = async (): Promise<number[]> => [...(await model.createSession().evaluate([3, 4]))];
      const before = await logits();
      const garbage = join(place, 'garbage');
      copyFileSync(path, garbage);
      writeFileSync(garbage, Buffer.alloc(statSync(path).size, 7));
      renameSync(garbage, path);
      expect(await logits()).toEqual(before);
      rmSync(path);
      expect(await logits()).toEqual(before);
    });
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
    expectFailure(await calling('', path, int8), invalidArgument(/path of a model/));
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
