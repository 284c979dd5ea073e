import { onAbort } from '../abort';

type Parts<Part> = AsyncGenerator<Part, void, undefined>;

/**
 * Why what nobody asks for any more is given up. One for all, made here: the stack of an error that were made where an
 * iterator is left would hold that iterator, and with it a session.
 */
const leftByCaller = new Error('the iteration was left');

/** Ends generations whose iterators nobody has any more. */
const abandoned = new FinalizationRegistry<Iteration<unknown>>((iteration) => {
  iteration.abandon();
});

/** What has something for itself. */
export interface Hold {
  /** Resolves when it has it, and rejects where that is aborted before. */
  readonly turn: Promise<void>;
  /** Nobody iterates any more: whoever wants it waits for the release, instead of being refused. */
  readonly leave: () => void;
  /** Gives it back; does so once. */
  readonly release: () => void;
}

/** A generation that is about to begin. */
interface Held<Part> {
  readonly hold: Hold;
  /** Returns the last part instead of yielding it. */
  readonly parts: AsyncGenerator<Part, Part | undefined, undefined>;
  readonly signal: AbortSignal | undefined;
}

/**
 * The iterator of a generation that its caller gets: from its first next() on it holds what it needs, until the last part
 * comes, or until it is aborted, even if nobody asks for another part. Where the caller drops it without ending it, the
 * generation is ended when the garbage collector finds out.
 *
 * @param begin gets a signal that is aborted when the iteration is left: then the parts need not wait for anybody
 */
export function iterateHeld<Part>(begin: (left: AbortSignal) => Held<Part>): Parts<Part> {
  const iteration = new Iteration(begin);
  const iterator: Parts<Part> = {
    next: () => iteration.parts.next(),
    return: () => iteration.end(),
    throw: (error: unknown) => {
      iteration.leave();
      return iteration.parts.throw(error);
    },
    [Symbol.asyncIterator]: () => iterator,
    [Symbol.asyncDispose]: async () => {
      await iteration.end();
    },
  };
  abandoned.register(iterator, iteration, iteration);
  return iterator;
}

/** What is behind the iterator, which may be gone before. */
class Iteration<Part> {
  readonly parts: Parts<Part>;
  #hold: Hold | undefined;
  readonly #left = new AbortController();
  readonly #failures = new Failures();

  constructor(begin: (left: AbortSignal) => Held<Part>) {
    this.parts = partsOf(
      (left) => {
        const held = begin(left);
        this.#hold = held.hold;
        return held;
      },
      this.#left.signal,
      this.#failures,
      this.#forget,
    );
  }

  /**
   * There is nothing to end any more. What is registered holds what the caller gave, functions that may reach the
   * iterator among it: then that would never be collected.
   */
  readonly #forget = (): void => {
    abandoned.unregister(this);
  };

  /** To be called when nobody has the iterator any more. Whoever still waits for a part gets it. */
  abandon(): void {
    this.#hold?.leave();
    // Whoever could hear of an error has gone.
    this.parts.return(undefined).catch(() => undefined);
  }

  /** To be called with what ends it: that may be waited for, or not, as streams do it. */
  leave(): void {
    this.#forget();
    this.#hold?.leave();
    this.#left.abort(leftByCaller);
  }

  async end(): Promise<IteratorResult<Part, void>> {
    this.leave();
    const result = await this.parts.return(undefined);
    this.#failures.throwFirst();
    return result;
  }
}

/** Why a generation that was aborted could not be ended as it should be: that is worse than the abort. */
class Failures {
  readonly #errors: unknown[] = [];

  readonly add = (error: unknown): void => {
    this.#errors.push(error);
  };

  throwFirst(): void {
    if (this.#errors.length > 0) throw this.#errors.shift();
  }
}

async function* partsOf<Part>(
  begin: (left: AbortSignal) => Held<Part>,
  left: AbortSignal,
  failures: Failures,
  forget: () => void,
): Parts<Part> {
  let last: Part | undefined;
  try {
    const { hold, parts, signal } = begin(left);
    const isOver = onAbort(signal, () => {
      forget();
      void parts.return(undefined).catch(failures.add).finally(hold.release);
    });
    try {
      await hold.turn;
      last = yield* parts;
    } catch (error) {
      // Who has left asks for nothing any more.
      if (!left.aborted || error !== left.reason) throw error;
    } finally {
      isOver();
      hold.release();
    }
    failures.throwFirst();
    if (last === undefined) signal?.throwIfAborted();
  } finally {
    forget();
  }
  if (last !== undefined) yield last;
}
