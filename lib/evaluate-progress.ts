import type { NativeSession } from './native';

/** How far a session has come with its input. */
export interface EvaluateProgress {
  phase: 'evaluate';
  /** Tokens evaluated so far. */
  completed: number;
  /** Tokens of the input. */
  total: number;
}

/** Milliseconds between two looks. */
const interval = 100;

/** Reports on a pending call of a session's, every now and then, where it has come further. */
export class ProgressReports {
  /** What the callback has thrown: the call was cancelled for it. */
  failure: { readonly error: unknown } | undefined;
  readonly #timer: NodeJS.Timeout;
  #reported = 0;

  constructor(native: NativeSession, total: number, report: (progress: EvaluateProgress) => void) {
    this.#timer = setInterval(() => {
      const completed = native.evaluated();
      if (completed <= this.#reported) return;
      this.#reported = completed;
      try {
        report({ phase: 'evaluate', completed, total });
      } catch (error) {
        this.failure = { error };
        this.stop();
        native.cancel();
      }
    }, interval);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
