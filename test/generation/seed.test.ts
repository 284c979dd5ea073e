import { State } from '../../lib/index';
import { expectFailure, thrown } from '../support/failure';
import { useRandomModel } from '../support/model';

const { model } = useRandomModel();
const options = { temperature: 3, topP: 1, stopTokens: [], maxTokens: 12 };

describe('session.seed', () => {
  test('repeats a generation that was given none', async () => {
    const session = model().createSession();
    const { seed } = session;
    let text = '';
    for await (const part of session.generate('ab', options)) {
      text += part.text;
      if (part.finishReason === undefined) expect(session.seed).toBe(seed);
    }
    expect(session.seed).toBe(seed);
    expect(
      (
        await model()
          .createSession()
          .complete('ab', { ...options, seed })
      ).text,
    ).toBe(text);
    expect(model().createSession().seed).not.toBe(seed);
  });

  test('is that of the last call that had one, and goes with forks and saved states', async () => {
    const session = model().createSession();
    expect((await session.complete('ab', { ...options, seed: 2n ** 64n - 1n })).seed).toBe(2n ** 64n - 1n);
    expect(session.seed).toBe(2n ** 64n - 1n);
    expect(session.fork().seed).toBe(2n ** 64n - 1n);
    expect(session.fork({ seed: 5 }).seed).toBe(5n);
    const saved = State.deserialize(session.state.serialize());
    expect(model().createSession({ state: saved }).seed).toBe(2n ** 64n - 1n);
    await session.complete('ab', { ...options, seed: 3 });
    expect(session.seed).toBe(3n);
  });

  test('may be 0', async () => {
    const session = model().createSession();
    expect(session.fork({ seed: 0 }).seed).toBe(0n);
    expect((await session.complete('ab', { ...options, seed: 0 })).seed).toBe(0n);
  });

  test('of a chat is what regenerate() drew', async () => {
    const chat = model().createChat();
    await chat.complete('hi', { ...options, seed: 1 });
    let again = '';
    for await (const part of chat.regenerate(options)) again += part.text;
    const { seed } = chat.session;
    expect(seed).not.toBe(1n);
    let same = '';
    for await (const part of chat.regenerate({ ...options, seed })) same += part.text;
    expect(same).toBe(again);
  });

  test('is not known while a call is pending, or after the end', async () => {
    const session = model().createSession();
    const pending = session.evaluate('ab');
    expectFailure(
      thrown(() => session.seed),
      { code: 'ERR_WKV_BUSY' },
    );
    const fork = session.fork({ seed: 9 });
    expectFailure(
      thrown(() => fork.seed),
      { code: 'ERR_WKV_BUSY' },
    );
    const next = fork.generate('a', options).next();
    expectFailure(
      thrown(() => fork.seed),
      { code: 'ERR_WKV_BUSY' },
    );
    await Promise.all([pending, next]);
    expect(fork.seed).toBe(9n);
    session.dispose();
    expectFailure(
      thrown(() => session.seed),
      { code: 'ERR_WKV_DISPOSED' },
    );
  });

  test('is the new one from the first next() on, and no seed that may be taken back', async () => {
    const session = model().createSession();
    const { seed } = session;
    const waits = async (): Promise<undefined> => {
      await new Promise((done) => setTimeout(done, 20));
    };
    const iterator = session.generate('ab', { ...options, seed: 5, tokenMask: waits });
    expect(session.seed).toBe(seed);
    const next = iterator.next();
    await new Promise(setImmediate);
    expect(session.seed).toBe(5n);
    await next;
    await iterator.return();

    const failing = session.complete('a', {
      ...options,
      seed: 6,
      tokenMask: async () => {
        await waits();
        throw new Error('no mask');
      },
    });
    const queued = session.generate('c', options);
    const first = queued.next();
    await new Promise(setImmediate);
    expectFailure(
      thrown(() => session.seed),
      { code: 'ERR_WKV_BUSY' },
    );
    await expect(failing).rejects.toThrow('no mask');
    await first;
    expect(session.seed).toBe(5n);
    await queued.return();
  });
});
