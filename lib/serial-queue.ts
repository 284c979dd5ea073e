/** A task in a queue. */
export interface Queued<Result> {
  result: Promise<Result>;
  /** To be called where the task has no more to do, before it settles, or will do nothing when its turn comes. */
  leave: () => void;
}

/** Runs tasks one after another, in the order in which they came. */
export class SerialQueue {
  #last: Promise<unknown> | undefined;
  #count = 0;

  /** Whether nothing runs or waits that has something to do. */
  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Runs the task when all earlier ones have settled; where that is known already, before this returns. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    return this.enter(task).result;
  }

  enter<Result>(task: () => Promise<Result>): Queued<Result> {
    let counts = true;
    this.#count += 1;
    const leave = (): void => {
      if (counts) this.#count -= 1;
      counts = false;
    };
    const result = this.#last === undefined ? task() : this.#last.then(task);
    // The next task waits for this one's end, however it ends.
    const settle = (): void => {
      leave();
      if (this.#last === settled) this.#last = undefined;
    };
    const settled: Promise<void> = result.then(settle, settle);
    this.#last = settled;
    return { result, leave };
  }
}
