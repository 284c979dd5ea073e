import { AsyncResource } from 'node:async_hooks';
import { onAbort } from './abort';
import type { Hold } from './generation/iterator';

/** Promises that wait for their turn must not inherit the caller's AsyncLocalStorage: they would keep what is in it. */
const nobodys = new AsyncResource('wkv');

type Call<Result> = () => Promise<Result>;

/** A call in the queue. */
interface Queued<Result> {
  readonly result: Promise<Result>;
  /** To be called where the call has no more to do, before it settles, or will do nothing when its turn comes. */
  readonly leave: () => void;
}

const passedOver = (): Promise<never> => Promise.reject(new Error('the call was aborted'));

/** Whose turn it is in a session: one call after another, in the order in which they came. */
export class SessionQueue {
  #last: Promise<unknown> | undefined;
  #count = 0;
  /** What is iterated, and has the session for itself until it is aborted. */
  #iterated: { readonly signal: AbortSignal | undefined } | undefined;

  /** Whether nothing runs or waits that may change something. */
  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Whether nothing comes before what is iterated. */
  get isAtIteration(): boolean {
    return this.isIterated && this.#count === 1;
  }

  /** Whether something is iterated: other calls cannot wait for its end, which depends on whoever iterates. */
  get isIterated(): boolean {
    return this.#iterated !== undefined && this.#iterated.signal?.aborted !== true;
  }

  /**
   * Runs a call when all earlier ones have settled; where that is known already, before this returns. One that is aborted
   * before rejects at once, and is passed over then.
   */
  run<Result>(call: Call<Result>, signal?: AbortSignal): Promise<Result> {
    return this.#enter(call, signal).result;
  }

  /** The same for one that changes nothing: while only such calls wait, the queue is idle. */
  runReading<Result>(call: Call<Result>): Promise<Result> {
    return this.#append(call, false).result;
  }

  /** Takes a turn like any call, which lasts until the release. */
  hold(signal: AbortSignal | undefined, isIterated: boolean): Hold {
    return nobodys.runInAsyncScope(() => this.#hold(signal, isIterated));
  }

  #hold(signal: AbortSignal | undefined, isIterated: boolean): Hold {
    const holder = { signal };
    if (isIterated) this.#iterated = holder;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    let leaveQueue = (): void => undefined;
    const turn = new Promise<void>((mine, aborted) => {
      const queued = this.#enter(() => {
        mine();
        return ended;
      }, signal);
      leaveQueue = queued.leave;
      queued.result.catch(aborted);
    });
    const leave = (): void => {
      if (this.#iterated === holder) this.#iterated = undefined;
    };
    const release = (): void => {
      leave();
      leaveQueue();
      end();
    };
    return { turn, leave, release };
  }

  #enter<Result>(call: Call<Result>, signal: AbortSignal | undefined): Queued<Result> {
    if (signal?.aborted === true) {
      return { result: Promise.reject(signal.reason as Error), leave: () => undefined };
    }
    if (signal === undefined || this.#last === undefined) return this.#append(call);
    let leave = (): void => undefined;
    let own = call;
    const result = new Promise<Result>((resolve, reject) => {
      const hasCome = onAbort(signal, () => {
        leave();
        // What it would have worked on is not needed until its turn comes.
        own = passedOver;
        reject(signal.reason as Error);
      });
      const queued = this.#append(() => {
        hasCome();
        signal.throwIfAborted();
        return own();
      });
      leave = queued.leave;
      queued.result.then(resolve, reject);
    });
    return { result, leave };
  }

  #append<Result>(call: Call<Result>, changes = true): Queued<Result> {
    let counts = changes;
    if (counts) this.#count += 1;
    const leave = (): void => {
      if (counts) this.#count -= 1;
      counts = false;
    };
    const result = this.#last === undefined ? call() : this.#last.then(call);
    // The next call waits for this one's end, however it ends.
    const settle = (): void => {
      leave();
      if (this.#last === settled) this.#last = undefined;
    };
    const settled: Promise<void> = result.then(settle, settle);
    this.#last = settled;
    return { result, leave };
  }
}
