import { Delivery } from '../../lib/generation/delivery';
import { StopStrings } from '../../lib/generation/stop-strings';
import { TakenIn, type GenerationAccess } from '../../lib/generation/taken-in';
import type { EvaluationRequest, NativeDrawn, NativeSession } from '../../lib/native';
import { Tokenizer, WkvError } from '../../lib/index';
import { rejection } from '../support/failure';

/** A session that writes down what it is asked for, and fails with `error` where that is set. */
class Recording implements GenerationAccess {
  readonly tokenizer = Tokenizer.bytes();
  readonly rests = false;
  readonly submitted: number[][] = [];
  error: Error | undefined;

  encode(bytes: Uint8Array): Uint32Array {
    return this.tokenizer.encode(bytes);
  }

  native(): NativeSession {
    const nothing = (): void => undefined;
    return { keep: nothing, forget: nothing, goBack: nothing } as Partial<NativeSession> as NativeSession;
  }

  isDisposed(): boolean {
    return false;
  }

  sampling(): never {
    throw new Error('not asked for here');
  }

  submit({ tokens }: EvaluationRequest): Promise<{ cancelled: boolean }> {
    this.submitted.push([...tokens]);
    return this.error === undefined ? Promise.resolve({ cancelled: false }) : Promise.reject(this.error);
  }
}

test.each([
  ['ERR_WKV_STATE', []],
  ['ERR_WKV_MEMORY', [[66]]],
] as const)('a token after which drawing fails with %s is taken in exactly once', async (code, again) => {
  const session = new Recording();
  const delivery = new Delivery<NativeDrawn>(new StopStrings([]));
  const taken = new TakenIn(session, delivery, 0);
  taken.push(65, {});
  delivery.take();
  await taken.takeIn();
  taken.push(66, {});
  delivery.take();
  session.error = new WkvError(code, 'as the test wants it');
  expect(await rejection(() => taken.takeIn())).toBe(session.error);
  session.error = undefined;
  await taken.settle();
  expect(session.submitted).toEqual([[65], [66], ...again]);
});
