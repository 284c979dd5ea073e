import * as timers from 'node:timers';
import { native } from './native';

/** What the module had when this was loaded: fake timers of a test, which take its place later, would hold up a model. */
const { setImmediate: whenTurnIsOver } = timers;

let scheduled = false;

/**
 * Has the engines begin with what has been submitted to them when this turn of the event loop is over, promises
 * included: calls made in one turn take part in the same step.
 */
export function beginAfterThisTurn(): void {
  if (scheduled) return;
  scheduled = true;
  whenTurnIsOver(() => {
    scheduled = false;
    native.flush();
  });
}
