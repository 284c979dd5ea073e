import { Delivery } from '../../lib/generation/delivery';
import { StopStrings } from '../../lib/generation/stop-strings';
import { EvaluatedTokens, type GenerationAccess } from '../../lib/generation/evaluated-tokens';
import type { EvaluationRequest, NativeRandom, NativeSession } from '../../lib/native';
import { Tokenizer, WkvError } from '../../lib/index';
import { rejection } from '../support/failure';

/** A session that writes down what it is asked for, and fails with `error` where that is set. */
class Recording implements GenerationAccess {
  readonly tokenizer = Tokenizer.bytes();
  readonly packsStates = false;
  readonly isDisposed = false;
  readonly submitted: number[][] = [];
  error: Error | undefined;
  /** Whether the tokens have been evaluated when it fails. */
  failsAfter = false;
  /** Random numbers of an earlier generation are used up. */
  #draws = 5n;

  encode(bytes: Uint8Array): Uint32Array {
    return this.tokenizer.encode(bytes);
  }

  native(): NativeSession {
    const nothing = (): void => undefined;
    const random = (): NativeRandom => ({ seed: 1n, draws: this.#draws });
    return {
      keep: nothing,
      forget: nothing,
      goBack: nothing,
      random,
    } as Partial<NativeSession> as NativeSession;
  }

  disposal(): AbortSignal {
    return new AbortController().signal;
  }

  sampling(): never {
    throw new Error('not asked for here');
  }

  submit({ tokens }: EvaluationRequest): Promise<{ cancelled: boolean }> {
    this.submitted.push([...tokens]);
    if (this.error === undefined || this.failsAfter) this.#draws += BigInt(tokens.length);
    return this.error === undefined ? Promise.resolve({ cancelled: false }) : Promise.reject(this.error);
  }
}

test.each([
  ['ERR_WKV_STATE', 'after', []],
  ['ERR_WKV_MEMORY', 'after', []],
  ['ERR_WKV_MEMORY', 'before', [[66]]],
] as const)(
  'where %s comes %s a token is evaluated, it is evaluated exactly once',
  async (code, when, again) => {
    const session = new Recording();
    const delivery = new Delivery(new StopStrings([]));
    const evaluated = new EvaluatedTokens(session, delivery, 0);
    evaluated.push(65, {});
    delivery.take();
    await evaluated.evaluate();
    evaluated.push(66, {});
    delivery.take();
    session.error = new WkvError(code, 'as the test wants it');
    session.failsAfter = when === 'after';
    expect(await rejection(() => evaluated.evaluate())).toBe(session.error);
    session.error = undefined;
    await evaluated.settle();
    expect(session.submitted).toEqual([[65], [66], ...again]);
  },
);
