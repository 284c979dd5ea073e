import { setImmediate } from 'node:timers';
import { native } from './native';

// Taken from the module and not from the globals, so that fake timers of a test do not hold up a model.

let scheduled = false;

/**
 * Has the engines begin with what has been submitted to them when this turn of the event loop is over, promises
 * included: calls made in one turn take part in the same step.
 */
export function beginAfterThisTurn(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    native.flush();
  });
}
