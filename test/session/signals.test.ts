import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { loadModel } from '../../lib/index';
import { rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { runChild, smallShape, useRandomModel, withModel } from '../support/model';

const { vocabulary } = smallShape;
const { model, path } = useRandomModel();

describe('A signal', () => {
  const long = randomTokens(40_000, vocabulary, 1);
  const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

  test('has no listener when calls of all kinds have ended, however they did', async () => {
    const { signal } = new AbortController();
    const session = model().createSession();
    const bannedTokens = Uint32Array.from({ length: vocabulary }, (_, id) => id);
    // Queued behind each other: most of them wait for their turn with a listener.
    const results = await Promise.allSettled([
      session.evaluate([1, 2], { signal }),
      session.score('text', { signal }),
      session.complete('x'.repeat(9000), { signal, maxTokens: 3 }),
      session.complete([1], { signal, bannedTokens }),
      session.evaluate([vocabulary], { signal }),
      (async () => {
        for await (const part of session.generate('x', { signal, maxTokens: 5 })) {
          if (part.tokens.length > 0) break;
        }
      })(),
    ]);
    const failed = results.map(({ status }) => status === 'rejected');
    expect(failed).toEqual([false, false, false, true, true, false]);
    expect(listeners(signal)).toBe(0);
  });

  test('has no listener when the session or the model of calls was disposed', async () => {
    const { signal } = new AbortController();
    const [one, two] = [model().createSession(), model().createSession()];
    const other = await loadModel(path, { signal });
    const three = other.createSession();
    const calls = [one, two, three].flatMap((session) => [
      rejection(() => session.evaluate(long, { signal })),
      rejection(() => session.score(long, { signal })),
      rejection(() => session.complete(long, { signal })),
    ]);
    one.dispose();
    two.dispose();
    await other.dispose();
    await Promise.all(calls);
    expect(listeners(signal)).toBe(0);
  });

  test('has no listener when it has aborted calls that ran and calls that waited', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const session = model().createSession();
    const calls = Array.from({ length: 20 }, () => rejection(() => session.evaluate(long, { signal })));
    calls.push(rejection(() => session.generate('x', { signal }).next()));
    expect(listeners(signal)).toBeGreaterThan(0);
    controller.abort();
    for (const error of await Promise.all(calls)) expect(error).toBe(signal.reason);
    expect(listeners(signal)).toBe(0);
  });

  test('that comes when a step of two calls is over, and their results are not there yet, aborts the one', async () => {
    await withModel(path, {}, async (own) => {
      const [session, other] = [own.createSession(), own.createSession()];
      const controller = new AbortController();
      const aborted = rejection(() => session.evaluate([1, 2, 3], { signal: controller.signal }));
      const fulfilled = other.evaluate([4, 5, 6]);
      // By then both are submitted; they begin when the turn is over, and before this goes on in the same phase.
      await new Promise<void>((resolve) => {
        process.nextTick(resolve);
      });
      await setImmediate();
      // Results come in a later phase: nothing is awaited from here to the abort.
      const end = performance.now() + 30_000;
      while (own.statistics.steps === 0 && performance.now() < end);
      expect(own.statistics).toMatchObject({ steps: 1, sessions: 2 });
      controller.abort();
      expect(await aborted).toBe(controller.signal.reason);
      await fulfilled;
      expect([session.state.tokens, other.state.tokens]).toEqual([0, 3]);
    });
  });

  test.each([
    ['a thousand calls that are queued on one session at once', 'queued'],
    ['a thousand calls that run at once on sessions of their own', 'together'],
    ['a thousand calls that follow each other', 'following'],
    ['thirty loads of a model at once', 'loads'],
  ])('of %s causes no warning, and keeps no listener', async (_how, mode) => {
    const ended = await runChild(join(__dirname, 'child-listeners.ts'), [mode, path]);
    expect(ended).toEqual({ code: 0, stdout: 'no listeners', stderr: '' });
  });
});
