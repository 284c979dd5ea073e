import { onAbort } from '../abort';
import type { Hold } from '../generation/iterator';
import type { Session } from '../session';

interface Call {
  readonly controller: AbortController;
  /** Aborts the call where its caller's signal has been aborted. */
  readonly follow: () => void;
  /** Whether whoever iterated has ended that. */
  left: boolean;
}

/** The calls of a chat that have not ended: all but the last have been aborted or left. */
export class Calls {
  readonly #calls = new Set<Call>();

  get isIdle(): boolean {
    return this.#calls.size === 0;
  }

  /** Whether the last one has been neither aborted nor left: nothing can wait for its end. */
  get isBusy(): boolean {
    return [...this.#calls].some(({ controller, follow, left }) => {
      // Another listener of the caller's signal may ask before the call's own has heard of an abort.
      follow();
      return !left && !controller.signal.aborted;
    });
  }

  /** Aborts them all. */
  abort(reason: Error): void {
    for (const { controller } of this.#calls) controller.abort(reason);
  }

  /**
   * Begins a call that has the session for itself until the release. The signal that it gets is aborted by the caller's,
   * and by {@link Calls.abort}.
   */
  begin(
    session: Session,
    signal: AbortSignal | undefined,
    isIterated: boolean,
  ): { hold: Hold; signal: AbortSignal } {
    const controller = new AbortController();
    const follow = (): void => {
      if (signal?.aborted === true) controller.abort(signal.reason);
    };
    follow();
    const { turn, leave, release } = session.hold(controller.signal, isIterated);
    const unlink = onAbort(signal, follow);
    const call: Call = { controller, follow, left: false };
    this.#calls.add(call);
    const hold: Hold = {
      turn,
      leave: () => {
        call.left = true;
        leave();
      },
      release: () => {
        unlink();
        this.#calls.delete(call);
        release();
      },
    };
    return { hold, signal: controller.signal };
  }
}
