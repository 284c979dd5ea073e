/** What tokens leave behind in a session, for tests that compare it to the last bit. */
import type { Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { allLogits } from '../support/model';

/** Everything that tokens leave behind: the logits of each, and the state. */
export interface Outcome {
  logits: Float32Array;
  state: Float32Array;
}

export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Evaluates the tokens in pieces of the lengths that `next` gives. */
export async function inPieces(session: Session, tokens: Uint32Array, next: () => number): Promise<Outcome> {
  const parts: Float32Array[] = [];
  for (let start = 0; start < tokens.length;) {
    const end = Math.min(start + next(), tokens.length);
    parts.push(await allLogits(session, tokens.subarray(start, end)));
    start = end;
  }
  return { logits: concatenate(parts), state: session.state.values() };
}

export function atOnce(session: Session, tokens: Uint32Array): Promise<Outcome> {
  return inPieces(session, tokens, () => tokens.length);
}

export function expectSameBits(found: Outcome, expected: Outcome): void {
  expect(found.logits.length).toBe(expected.logits.length);
  expect(sameBits(found.logits, expected.logits)).toBe(true);
  expect(found.state.length).toBe(expected.state.length);
  expect(sameBits(found.state, expected.state)).toBe(true);
}
