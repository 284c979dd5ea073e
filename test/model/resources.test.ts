import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { loadModel } from '../../lib/index';
import { usableThreads } from '../../lib/threads';
import { expectFailure, rejection } from '../support/failure';
import { notOnLinux, unless } from '../support/unless';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from './support';

/** What the cgroup's limit of processor time reads as; null where there is none, undefined for the system's own. */
let mockCpuMax: string | null | undefined;
jest.mock('node:fs', () => {
  const fs = jest.requireActual<typeof import('node:fs')>('node:fs');
  return {
    ...fs,
    readFileSync: (...parameters: Parameters<typeof fs.readFileSync>) => {
      if (parameters[0] !== '/sys/fs/cgroup/cpu.max' || mockCpuMax === undefined)
        return fs.readFileSync(...parameters);
      if (mockCpuMax === null) throw new Error('no such file');
      return mockCpuMax;
    },
  };
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

  const limits = [
    ['max 100000', availableParallelism()],
    ['50000 100000', 1],
    ['100000 100000', 1],
    ['150000 100000', Math.min(2, availableParallelism())],
    ['100000000 100000', availableParallelism()],
    ['nonsense', availableParallelism()],
    [null, availableParallelism()],
  ] as const;
  unless(notLinux)('what the cgroup allows of them', () => {
    try {
      for (const [limit, expected] of limits) {
        mockCpuMax = limit;
        expect({ limit, usable: usableThreads() }).toEqual({ limit, usable: expected });
      }
    } finally {
      mockCpuMax = undefined;
    }
  });
});

function resident(): number {
  const now = process.memoryUsage.rss();
  jest.spyOn(process.memoryUsage, 'rss').mockReturnValue(now);
  return now;
}

describe('A model that would not fit into', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  test.each([
    ['what the system has left', 'availableMemory', (): number => 100_000],
    // What the process has stays as it is meanwhile.
    ["the process's own limit", 'constrainedMemory', (): number => resident() + 100_000],
  ] as const)('%s is refused, and nothing of it is read', async (_what, name, bytes) => {
    jest.spyOn(process, name).mockImplementation(bytes);
    const onProgress = jest.fn();
    const error = await rejection(() => loadModel(path, { onProgress }));
    expectFailure(error, { code: 'ERR_WKV_MEMORY', path, expected: /\d+ bytes/, found: /\d+ bytes/ });
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
      jest.spyOn(process, 'availableMemory').mockImplementation(() => 100_000);
      await withModel(path, {}, (second) => {
        expect(second.info).toEqual(first.info);
      });
    });
  });
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
