import { iterateHeld } from '../../lib/generation/iterator';
import { rejection } from '../support/failure';

/** A generation that cannot be ended as it should be. */
async function* failing(failure: Error): AsyncGenerator<number, undefined, undefined> {
  try {
    for (let i = 0; ; i++) yield await Promise.resolve(i);
  } finally {
    await Promise.reject(failure);
  }
}

test.each(['next', 'return'] as const)(
  'Where an aborted generation cannot be ended as it should be, its caller hears of that from %s()',
  async (method) => {
    const failure = new Error('no memory');
    const controller = new AbortController();
    const released = jest.fn();
    const parts = iterateHeld(() => ({
      hold: { turn: Promise.resolve(), leave: () => undefined, release: released },
      parts: failing(failure),
      signal: controller.signal,
    }));
    expect(await parts.next()).toEqual({ done: false, value: 0 });
    controller.abort(new Error('aborted'));
    expect(await rejection(() => parts[method]())).toBe(failure);
    expect(released).toHaveBeenCalled();
  },
);

test('A last part that is there when the abort comes is delivered', async () => {
  const controller = new AbortController();
  async function* parts(): AsyncGenerator<number, number, undefined> {
    yield 0;
    await Promise.resolve(controller.abort(new Error('too late')));
    return 1;
  }
  const iterator = iterateHeld(() => ({
    hold: { turn: Promise.resolve(), leave: () => undefined, release: () => undefined },
    parts: parts(),
    signal: controller.signal,
  }));
  const found: number[] = [];
  for await (const part of iterator) found.push(part);
  expect(found).toEqual([0, 1]);
});
