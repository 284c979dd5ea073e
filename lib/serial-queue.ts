/** Runs tasks one after another, in the order in which they came. */
export class SerialQueue {
  #last: Promise<unknown> | undefined;

  /** Whether nothing runs or waits. */
  get isIdle(): boolean {
    return this.#last === undefined;
  }

  /** Runs the task when all earlier ones have settled: at once, before this returns, where there are none. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#last === undefined ? task() : this.#last.then(task);
    // The next task waits for this one's end, however it ends.
    const settle = (): void => {
      if (this.#last === settled) this.#last = undefined;
    };
    const settled: Promise<void> = result.then(settle, settle);
    this.#last = settled;
    return result;
  }
}
