import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { loadModel } from '../../lib/index';
import { usableMemory } from '../../lib/memory';
import { usableThreads } from '../../lib/threads';
import { writeEmptyModel } from '../support/empty-model';
import { expectFailure, rejection } from '../support/failure';
import { describeUnless, notOnLinux, unless } from '../support/unless';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';

/** What files of the system read as; null where there is none. */
const mockFiles = new Map<unknown, string | null>();
jest.mock('node:fs', () => {
  const fs = jest.requireActual<typeof import('node:fs')>('node:fs');
  return {
    ...fs,
    readFileSync: (...parameters: Parameters<typeof fs.readFileSync>) => {
      const isOfSystem = /^\/(?:proc|sys)\//.test(String(parameters[0]));
      const text = isOfSystem ? mockFiles.get(parameters[0]) : undefined;
      if (text === undefined) return fs.readFileSync(...parameters);
      if (text === null) throw new Error('no such file');
      return text;
    },
  };
});

const withoutCgroup = (): unknown => mockFiles.set('/proc/self/cgroup', null);

afterEach(() => {
  jest.restoreAllMocks();
  mockFiles.clear();
});

const folder = temporaryFolder();

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

describe('By default a model computes with', () => {
  const notLinux = notOnLinux('this is not Linux');
  const missing = notLinux || (spawnSync('taskset', ['--version']).status !== 0 && 'there is no taskset');

  unless(missing)('as many threads as the processors that the process may run on', () => {
    // The first of the processors that this process may use.
    const allowed = /Cpus_allowed_list:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
    const runner = join(__dirname, '../support/run-typescript.js');
    const child = join(__dirname, 'child-threads.ts');
    const run = (...before: string[]): unknown => {
      const [program, ...parameters] = [...before, process.execPath, runner, child, path];
      return JSON.parse(execFileSync(program, parameters, { encoding: 'utf8' }));
    };
    // Workers of the pool: one less than threads, because the engine's own works along.
    expect(run('taskset', '-c', allowed)).toEqual({ usable: 1, workers: 0 });
    const usable = usableThreads();
    expect(run()).toEqual({ usable, workers: usable - 1 });
  });

  test('no more than 256 threads, where there are more processors', async () => {
    jest.spyOn(os, 'availableParallelism').mockReturnValue(384);
    withoutCgroup();
    expect(usableThreads()).toBe(256);
    await withModel(path, {}, (model) => model.createSession().evaluate([1]));
  });

  describeUnless(notLinux)('what its cgroup allows of them:', () => {
    const group = '/sys/fs/cgroup';
    const inner = `${group}/outer/inner`;
    const outer = `${group}/outer`;
    test.each<[string, Record<string, string>, number]>([
      ['everything', { [inner]: 'max 100000' }, 64],
      ['half a processor', { [inner]: '50000 100000' }, 1],
      ['one processor', { [inner]: '100000 100000' }, 1],
      ['one and a half', { [inner]: '150000 100000' }, 2],
      ['more than there are', { [inner]: '100000000 100000' }, 64],
      ['nobody knows what', { [inner]: 'nonsense' }, 64],
      ['less than the one around it', { [inner]: '200000 100000', [outer]: '300000 100000' }, 2],
      ['more than the one around it', { [inner]: '300000 100000', [outer]: '200000 100000' }, 2],
      ['all that the one around it does', { [inner]: 'max 100000', [outer]: '200000 100000' }, 2],
      ['what the mount says, in a container', { [group]: '200000 100000' }, 2],
      ['what nobody says', {}, 64],
    ])('%s', (_what, limits, expected) => {
      jest.spyOn(os, 'availableParallelism').mockReturnValue(64);
      mockFiles.set('/proc/self/cgroup', '1:cpu:/other\n0::/outer/inner\n');
      for (const folder of [inner, outer, group]) mockFiles.set(`${folder}/cpu.max`, limits[folder] ?? null);
      expect(usableThreads()).toBe(expected);
    });
  });
});

function resident(): number {
  const now = process.memoryUsage.rss();
  jest.spyOn(process.memoryUsage, 'rss').mockReturnValue(now);
  return now;
}

describe('Usable memory', () => {
  const gib = 2 ** 30;
  const second = `anon 1\nfile 9\ninactive_anon 5\ninactive_file ${2 * gib}\nactive_file ${gib}\n`;
  const first = `cache 9\ninactive_file 7\ntotal_inactive_file ${2 * gib}\ntotal_active_file ${gib}\n`;
  test.each([
    ['version 2', '0::/a/b\n', '/sys/fs/cgroup/a/b', 'memory.current', second],
    ['version 2, seen from inside', '0::/a/b\n', '/sys/fs/cgroup', 'memory.current', second],
    [
      'version 1',
      '4:cpu:/x\n3:hugetlb,memory:/a\n',
      '/sys/fs/cgroup/memory/a',
      'memory.usage_in_bytes',
      first,
    ],
    ['version 1, seen from inside', '3:memory:/a\n', '/sys/fs/cgroup/memory', 'memory.usage_in_bytes', first],
  ])(
    'of a cgroup of %s is what it may have and has not, but for cached files',
    (_which, own, folder, file, stat) => {
      jest.spyOn(os, 'freemem').mockReturnValue(100 * gib);
      jest.spyOn(process, 'constrainedMemory').mockReturnValue(8 * gib);
      mockFiles.set('/proc/self/cgroup', own);
      mockFiles.set(join(folder, file), `${7 * gib}\n`);
      mockFiles.set(join(folder, 'memory.stat'), stat);
      expect(usableMemory()).toBe(4 * gib);
      // More than the limit, for a moment.
      mockFiles.set(join(folder, file), `${12 * gib}\n`);
      expect(usableMemory()).toBe(0);
    },
  );

  test('is no more than the system has', () => {
    jest.spyOn(os, 'freemem').mockReturnValue(gib);
    jest.spyOn(process, 'constrainedMemory').mockReturnValue(8 * gib);
    withoutCgroup();
    expect(usableMemory()).toBe(gib);
  });

  test('is what the system has where nothing is known of a cgroup', () => {
    jest.spyOn(os, 'freemem').mockReturnValue(3 * gib);
    jest.spyOn(process, 'constrainedMemory').mockReturnValue(0);
    jest.spyOn(process, 'availableMemory').mockReturnValue(0);
    withoutCgroup();
    expect(usableMemory()).toBe(3 * gib);
  });
});

describe('A model that would not fit into', () => {
  test.each([
    ['what the system has left', (): unknown => jest.spyOn(os, 'freemem').mockReturnValue(100_000)],
    [
      "the process's own limit",
      // What the process has stays as it is meanwhile.
      (): unknown => jest.spyOn(process, 'constrainedMemory').mockReturnValue(resident() + 100_000),
    ],
  ])('%s is refused, and nothing of it is read', async (_what, limit) => {
    withoutCgroup();
    limit();
    const onProgress = jest.fn();
    const error = await rejection(() => loadModel(path, { onProgress }));
    const message = /the weights take \d+\.\d KiB as f32, but only 97\.7 KiB of memory are free/;
    expectFailure(error, {
      code: 'ERR_WKV_MEMORY',
      message,
      path,
      expected: /\d+ bytes/,
      found: /\d+ bytes/,
    });
    expect(onProgress).not.toHaveBeenCalled();
  });

  test('a limit that is none is loaded', async () => {
    for (const none of [0, 2 ** 63]) {
      jest.spyOn(process, 'constrainedMemory').mockImplementation(() => none);
      await withModel(path, {}, ({ info }) => {
        expect(info.layers).toBe(smallShape.layers);
      });
    }
  });

  test('memory is loaded where the process has it already', async () => {
    await withModel(path, {}, async (first) => {
      jest.spyOn(os, 'freemem').mockReturnValue(100_000);
      await withModel(path, {}, (second) => {
        expect(second.info).toEqual(first.info);
      });
    });
  });
});

test('A model that would not fit is refused where another was loading it, and has been stopped', async () => {
  const large = join(folder, 'large.safetensors');
  writeEmptyModel(large, { layers: 4, embedding: 2048, feedForward: 7168, vocabulary: 256 });
  const stopping = new AbortController();
  let begun: () => void = () => undefined;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  const options = { weights: 'f32', threads: 1 } as const;
  const first = rejection(() =>
    loadModel(large, { ...options, signal: stopping.signal, onProgress: () => begun() }),
  );
  await beginning;
  withoutCgroup();
  // Asked for when it is known that there is nothing to load, as the other does.
  const freemem = jest.spyOn(os, 'freemem').mockImplementation(() => {
    stopping.abort();
    return 100_000;
  });
  const error = await rejection(() => loadModel(large, options));
  expectFailure(error, { code: 'ERR_WKV_MEMORY', message: /only 97\.7 KiB of memory are free/ });
  expect(freemem).toHaveBeenCalledTimes(2);
  expect(await first).toBe(stopping.signal.reason);
});

describe('The statistics of a model', () => {
  test('are all zero when it is new and when it is disposed', async () => {
    const zero = { steps: 0, tokens: 0, sessions: 0, largestBatch: 0 };
    const model = await loadModel(path);
    expect(model.statistics).toEqual(zero);
    await model.createSession().evaluate([1, 2, 3]);
    expect(model.statistics).toEqual({ steps: 1, tokens: 3, sessions: 1, largestBatch: 1 });
    await model.dispose();
    expect(model.statistics).toEqual(zero);
  });
});
