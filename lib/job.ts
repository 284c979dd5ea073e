import { AsyncResource } from 'node:async_hooks';
import { onAbort } from './abort';
import type { NativeJob, NativeProgress } from './native';

interface JobOptions<Result> {
  /** Bytes done so far, which only grow, and in all. What it throws ends the job; nothing follows that, or an abort. */
  onProgress?: ((completed: number, total: number) => void) | undefined;
  /** Bytes to report as done, and as all, where the job had nothing to do and has a result (not null). */
  whole?: number;
  signal?: AbortSignal | undefined;
  /** Takes back what came although it is no longer wanted; without it, what came in spite of an abort counts. */
  discard?: (result: Result) => Promise<void>;
}

/** Waits for a native job; rejects with the signal's reason where that called it off. */
export async function runJob<Result>(
  start: (onProgress: NativeProgress) => NativeJob<Result>,
  { onProgress, whole, signal, discard }: JobOptions<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  let reported = -1;
  const thrown: unknown[] = [];
  // With the caller's AsyncLocalStorage.
  const tell = onProgress && AsyncResource.bind(onProgress);
  const report: NativeProgress =
    tell &&
    ((completed, total) => {
      // Reports of several threads may overtake each other, and some are on their way when a job is called off.
      if (completed <= reported || thrown.length > 0 || signal?.aborted === true) return;
      reported = completed;
      try {
        tell(completed, total);
      } catch (error) {
        thrown.push(error);
        cancel();
      }
    });
  const { promise, cancel } = start(report);
  const isOver = onAbort(signal, cancel);
  try {
    const result = await promise;
    const isThere = result !== undefined && result !== null;
    if (isThere && reported < 0 && whole !== undefined) report?.(whole, whole);
    if (result !== undefined && thrown.length === 0 && (signal?.aborted !== true || discard === undefined)) {
      return result;
    }
    if (isThere) await discard?.(result);
    signal?.throwIfAborted();
    if (thrown.length > 0) throw thrown[0];
    throw new Error('a job ended without a result');
  } finally {
    isOver();
  }
}
