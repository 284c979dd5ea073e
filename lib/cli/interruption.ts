import { constants } from 'node:os';
import { isatty } from 'node:tty';

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

/** Ctrl-C, what other programs ask to end with, and the end of the terminal. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Of standard input, output and error, which are terminals when the process begins. */
const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));

/**
 * Ctrl-C (SIGINT), SIGTERM, SIGHUP and a closed standard output as one abort signal. After that, the next Ctrl-C or
 * SIGTERM ends the process at once, without temporary files that would stay.
 */
export class Interruption {
  readonly #controller = new AbortController();
  #received: NodeJS.Signals | undefined;
  readonly #receive = (signal: NodeJS.Signals): void => {
    // The system and the shell both may say that the terminal is gone: nobody is in a hurry.
    const again = signal !== 'SIGHUP' && this.#controller.signal.aborted;
    this.#received = signal;
    if (again) {
      // After the handlers that there are.
      process.once('exit', () => this.end());
      process.exit(128 + constants.signals[signal]);
    }
    this.#controller.abort(new Interrupted(false));
  };

  constructor() {
    this.listen();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What standard output's 'error' event brings. */
  outputFailed(error: Error): void {
    const closed = 'code' in error && error.code === 'EPIPE';
    this.#controller.abort(closed ? new Interrupted(true) : unwritable(error));
  }

  /**
   * To be called when the command has come to its end: after Ctrl-C the process ends by that, as if it had not been caught,
   * for only then does a shell give up what comes after the command (a loop around it, say). Where the terminal is gone it
   * ends by SIGHUP, be that still on its way: at its own end Node would put back how the terminal was, and crash. After
   * SIGTERM it ends by itself: other programs may go on with its pipes, which Node puts back as they were.
   */
  end(): void {
    if (process.platform === 'win32') return;
    const hasTerminals = terminals.every((descriptor) => isatty(descriptor));
    const signal = hasTerminals ? this.#received : 'SIGHUP';
    if (signal === undefined) return;
    if (signal === 'SIGTERM') {
      process.exitCode = 128 + constants.signals[signal];
      return;
    }
    this.release();
    process.kill(process.pid, signal);
  }

  listen(): void {
    for (const signal of signals) process.on(signal, this.#receive);
  }

  /** Leaves the signals to the system: for work that an abort signal cannot reach, because it does not wait. */
  release(): void {
    for (const signal of signals) process.off(signal, this.#receive);
  }
}

function unwritable(cause: Error): Error {
  return new Error(`standard output cannot be written to: ${cause.message}`, { cause });
}
