import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
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
import { convertModel, type ConvertOptions } from '../../lib/index';
import { native } from '../../lib/native';
import { smallShape, withModel, writeRandomModel, writeTensors } from '../support/model';
import { writeEmptyModel } from '../support/empty-model';
import { expectFailure, rejection } from '../support/failure';
import { toInt8, unfinished } from '../support/packed';
import { randomModel, type RandomModelShape } from '../support/random-model';
import { writeHuggingFaceDirectory } from '../support/safetensors-writer';
import { onWindows, unless } from '../support/unless';
import { int8, useConversions } from './support';

const { folder, source, output } = useConversions();
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

/** A model that takes seconds to convert, and no room on the disk. */
function writeLargeModel(): string {
  const path = join(folder, 'large.safetensors');
  if (!existsSync(path)) {
    writeEmptyModel(path, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
  }
  return path;
}

describe('convertModel', () => {
  test('replaces a file only where it is told to', async () => {
    const { place, path } = output();
    writeFileSync(path, 'precious');
    expectFailure(await rejection(() => convertModel(source, path, int8)), {
      ...{ code: 'EEXIST', message: /exists; the option overwrite/, path },
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await convertModel(source, path, { ...int8, overwrite: true });
    expect(await withModel(path, {}, ({ info }) => info.weights)).toBe('int8');
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
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

  testLinks('does not follow a link to where Node may not write', () => {
    const [flag = ''] = ['--permission', '--experimental-permission'].filter((name) =>
      process.allowedNodeEnvironmentFlags.has(name),
    );
    const { place, path } = output();
    const forbidden = join(folder, 'forbidden-target.safetensors');
    writeFileSync(forbidden, 'as it was');
    symlinkSync(forbidden, path);
    const program = `
      const { convertModel } = require(${JSON.stringify(join(__dirname, '../..'))});
      convertModel(${JSON.stringify(source)}, ${JSON.stringify(path)}, { weights: 'int8', overwrite: true })
        .catch(({ code, path }) => console.log(code, path));`;
    const flags = [
      '--no-warnings',
      flag,
      '--allow-addons',
      '--allow-fs-read=*',
      `--allow-fs-write=${place}/*`,
    ];
    const said = execFileSync(process.execPath, [...flags, '-e', program], { encoding: 'utf8' });
    expect(said).toBe(`ERR_ACCESS_DENIED ${forbidden}\n`);
    expect(readFileSync(forbidden, 'utf8')).toBe('as it was');
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

  test('does not write where Node may not', () => {
    const [flag = ''] = ['--permission', '--experimental-permission'].filter((name) =>
      process.allowedNodeEnvironmentFlags.has(name),
    );
    const path = join(folder, 'forbidden.safetensors');
    const program = `
      const { convertModel } = require(${JSON.stringify(join(__dirname, '../..'))});
      convertModel(${JSON.stringify(source)}, ${JSON.stringify(path)}, { weights: 'int8' })
        .catch(({ code, path }) => console.log(code, path));`;
    const flags = ['--no-warnings', flag, '--allow-addons', '--allow-fs-read=*'];
    expect(execFileSync(process.execPath, [...flags, '-e', program], { encoding: 'utf8' })).toBe(
      `ERR_ACCESS_DENIED ${path}\n`,
    );
    expect(existsSync(path)).toBe(false);
  });

  test('does not write over its input, a shard of it, or what is read with it', async () => {
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
    const index = join(directory, 'model.safetensors.index.json');
    await onto(directory, index);
    await onto(index, index);
    const config = join(directory, 'config.json');
    writeFileSync(config, '{}');
    await onto(directory, config);
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

  test('leaves nothing to be done when the process ends, whether it fails or not', async () => {
    const { path } = output();
    const added = jest.spyOn(native, 'addTemporaryPath');
    const forgotten = jest.spyOn(native, 'forgetTemporaryPath');
    await convertModel(source, path, int8);
    const onProgress = (): never => {
      throw new Error('enough');
    };
    await rejection(() => convertModel(writeLargeModel(), path, { ...int8, overwrite: true, onProgress }));
    expect(added).toHaveBeenCalledTimes(2);
    expect(forgotten.mock.calls).toEqual(added.mock.calls);
    jest.restoreAllMocks();
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
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
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
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
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
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
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
      expect(readdirSync(place)).toEqual(['converted.safetensors']);
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
    expect(readdirSync(place)).toEqual(['converted.safetensors']);
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
});
