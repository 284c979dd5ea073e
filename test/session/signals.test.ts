import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { loadModel } from '../../lib/index';
import { rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { runChild, smallShape, useRandomModel } from '../support/model';

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
