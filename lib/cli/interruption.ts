/** Why a command ends early. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor(
    /** Whether whoever reads the output has what they wanted: `wkv generate | head`. */
    readonly byReader: boolean,
  ) {
    super(byReader ? 'standard output was closed' : 'interrupted');
  }
}

/**
 * Ctrl-C (SIGINT), SIGTERM and a closed standard output as one abort signal. The second Ctrl-C is the system's own:
 * it ends the process at once.
 */
export class Interruption {
  readonly #controller = new AbortController();
  readonly #abort = (): void => {
    this.release();
    this.#controller.abort(new Interrupted(false));
  };

  constructor() {
    process.on('SIGINT', this.#abort);
    process.on('SIGTERM', this.#abort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What standard output's 'error' event brings. */
  outputFailed(error: Error): void {
    const closed = 'code' in error && error.code === 'EPIPE';
    this.#controller.abort(closed ? new Interrupted(true) : unwritable(error));
  }

  /** Leaves the signals to the system: for work that an abort signal cannot reach, because it does not wait. */
  release(): void {
    process.off('SIGINT', this.#abort);
    process.off('SIGTERM', this.#abort);
  }
}

function unwritable(cause: Error): Error {
  return new Error(`standard output cannot be written to: ${cause.message}`, { cause });
}
