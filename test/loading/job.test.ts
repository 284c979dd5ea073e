import { runJob } from '../../lib/job';
import { rejection } from '../support/failure';

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
