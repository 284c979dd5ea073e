import { runJob } from '../../lib/job';
import { rejection } from '../support/failure';

describe('A job that is called off', () => {
  /** One whose thread reports three times before it notices. */
  function reporting(onProgress: (completed: number) => void, signal?: AbortSignal): Promise<string> {
    return runJob<string>(
      (report) => {
        let end = (): void => undefined;
        const promise = new Promise<undefined>((resolve) => {
          end = () => resolve(undefined);
        });
        for (const completed of [1, 2, 3]) setImmediate(() => report?.(completed, 10));
        return { promise, cancel: () => setImmediate(() => setImmediate(end)) };
      },
      { onProgress, signal },
    );
  }

  test('by its signal reports nothing more', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const onProgress = jest.fn(() => controller.abort(reason));
    expect(await rejection(() => reporting(onProgress, controller.signal))).toBe(reason);
    expect(onProgress.mock.calls).toEqual([[1, 10]]);
  });

  test('by what a report throws reports nothing more', async () => {
    const reason = new Error('enough');
    const onProgress = jest.fn(() => {
      throw reason;
    });
    expect(await rejection(() => reporting(onProgress))).toBe(reason);
    expect(onProgress.mock.calls).toEqual([[1, 10]]);
  });
});

describe('A job that is done in spite of an abort', () => {
  /** Begins one, and aborts it when it can no longer be called off. */
  function abortedTooLate(discard?: (result: string) => Promise<void>): {
    result: Promise<string>;
    signal: AbortSignal;
  } {
    const controller = new AbortController();
    const { signal } = controller;
    const job = { promise: Promise.resolve('done'), cancel: () => undefined };
    const result = runJob(() => job, { signal, ...(discard === undefined ? {} : { discard }) });
    controller.abort(new Error('too late'));
    return { result, signal };
  }

  test('has its result, where nothing takes that back', async () => {
    expect(await abortedTooLate().result).toBe('done');
  });

  test('rejects with the reason when its result has been taken back', async () => {
    const discarded: string[] = [];
    const { result, signal } = abortedTooLate(async (unwanted) => {
      await Promise.resolve();
      discarded.push(unwanted);
    });
    expect(await rejection(() => result)).toBe(signal.reason);
    expect(discarded).toEqual(['done']);
  });
});

test.each<[string, string | null, number[][]]>([
  ['is there without a report has all of it to report', 'shared', [[5, 5]]],
  ['is not there has nothing to report', null, []],
])('A job whose result %s', async (_what, found, reports) => {
  const onProgress = jest.fn();
  const job = { promise: Promise.resolve(found), cancel: () => undefined };
  expect(await runJob(() => job, { onProgress, whole: 5 })).toBe(found);
  expect(onProgress.mock.calls).toEqual(reports);
});
