import { getEventListeners } from 'node:events';
import { Readable } from 'node:stream';
import { WkvError, type GenerateOptions, type Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, rejection, thrown } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { smallShape, useRandomModel } from '../support/model';

const busy = { code: 'ERR_WKV_BUSY' };
const disposed = { code: 'ERR_WKV_DISPOSED' };
const drawing: GenerateOptions = { maxTokens: 8, temperature: 1.5, topP: 1, stopTokens: [] };

const { model } = useRandomModel();

/** What a session would say next. */
function next(session: Session): Promise<Float32Array> {
  return session.evaluate([]);
}

describe('Calls on one session', () => {
  test('of all kinds are done in the order in which they were made', async () => {
    const [queued, awaited] = [model().createSession(), model().createSession()];
    const found = await Promise.all([
      queued.evaluate('one'),
      queued.score('two'),
      queued.complete('three', { ...drawing, seed: 1 }),
      queued.evaluate('four', { logits: 'all' }),
      queued.complete('', { ...drawing, seed: 2 }),
      queued.score('five'),
    ]);
    expect(found).toEqual([
      await awaited.evaluate('one'),
      await awaited.score('two'),
      await awaited.complete('three', { ...drawing, seed: 1 }),
      await awaited.evaluate('four', { logits: 'all' }),
      await awaited.complete('', { ...drawing, seed: 2 }),
      await awaited.score('five'),
    ]);
    expect(sameBits(await next(queued), await next(awaited))).toBe(true);
  });

  test.each<[string, (session: Session, signal: AbortSignal) => Promise<unknown>]>([
    [
      'was left',
      async (session) => {
        for await (const part of session.generate('a', drawing)) if (part.tokens.length > 0) break;
      },
    ],
    ['was aborted', (session, signal) => rejection(() => session.evaluate('a', { signal }))],
    ['never began', (session, signal) => rejection(() => session.generate('a', { signal }).next())],
  ])('are over at once where one that had waited %s', async (_what, wait) => {
    const session = model().createSession();
    const controller = new AbortController();
    const earlier = session.evaluate(randomTokens(500, smallShape.vocabulary, 1));
    const waiting = wait(session, controller.signal);
    if (_what !== 'was left') controller.abort();
    await waiting;
    await earlier;
    expect(session.state.tokens).toBeGreaterThanOrEqual(500);
  });

  test('go on after one that failed', async () => {
    const session = model().createSession();
    const [failed, last] = await Promise.allSettled([
      session.complete('', drawing), // nothing to sample from
      session.evaluate('after'),
    ]);
    expect([failed.status, last.status]).toEqual(['rejected', 'fulfilled']);
    expect(sameBits(await next(session), await model().createSession().evaluate('after'))).toBe(true);
  });

  test('end in their order, beside calls of other sessions', async () => {
    const order: string[] = [];
    const [long, short] = [model().createSession(), model().createSession()];
    const done = (name: string) => () => order.push(name);
    await Promise.all([
      long.evaluate(randomTokens(3000, smallShape.vocabulary, 1)).then(done('long')),
      long.evaluate([1]).then(done('after long')),
      short.evaluate([1]).then(done('short')),
    ]);
    expect(order).toEqual(['short', 'long', 'after long']);
  });
});

describe('A generation that waits for its turn', () => {
  test('and is aborted rejects before that comes, and the session is free for other calls', async () => {
    const [session, expected] = [model().createSession(), model().createSession()];
    const tokens = randomTokens(3000, smallShape.vocabulary, 4);
    const order: string[] = [];
    const done = (name: string) => () => order.push(name);
    const before = session.evaluate(tokens).finally(done('the call before'));
    const controller = new AbortController();
    const { signal } = controller;
    const generation = session.generate('x', { ...drawing, signal });
    const first = rejection(() => generation.next()).finally(done('the generation'));
    controller.abort(new Error('not any more'));
    expect(await first).toBe(signal.reason);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const after = session.evaluate([1]).finally(done('the call after'));
    await expect(generation.next()).resolves.toEqual({ done: true, value: undefined });
    await before;
    await expected.evaluate(tokens);
    expect(sameBits(await after, await expected.evaluate([1]))).toBe(true);
    expect(order).toEqual(['the generation', 'the call before', 'the call after']);
  });

  test('is not begun at all if it was aborted before', async () => {
    const session = model().createSession();
    const before = session.evaluate([1]);
    const signal = AbortSignal.abort(new Error('too early'));
    expect(await rejection(() => session.generate('x', { ...drawing, signal }).next())).toBe(signal.reason);
    await before;
    expect(session.state.tokens).toBe(1);
  });
});

describe('While a generation is iterated', () => {
  test('every other use of the session is ERR_WKV_BUSY, and leaves both as they were', async () => {
    const [session, undisturbed] = [model().createSession(), model().createSession()];
    const options = { ...drawing, seed: 3, maxTokens: 30 };
    const generation = session.generate('Once', options);
    const tokens = [...((await generation.next()).value?.tokens ?? [])];
    const { signal } = new AbortController();
    for (const call of [
      () => session.evaluate([1]),
      () => session.evaluate([1], { signal }),
      () => session.evaluate('x'.repeat(10_000)),
      () => session.score([1]),
      () => session.complete('x', drawing),
      () => session.generate('x', drawing).next(),
    ]) {
      expectFailure(await rejection(call), busy);
    }
    for (const call of [() => session.fork(), () => session.fork({ seed: 1 }), () => session.state]) {
      expectFailure(thrown(call), busy);
    }
    for await (const part of generation) tokens.push(...part.tokens);
    expect(tokens).toEqual((await undisturbed.complete('Once', options)).tokens);
    expect(sameBits(await next(session), await next(undisturbed))).toBe(true);
  });

  test('its turn not come yet, the same holds', async () => {
    const session = model().createSession();
    const before = session.evaluate(randomTokens(2000, smallShape.vocabulary, 2));
    const generation = session.generate('Once', drawing);
    const first = generation.next();
    expectFailure(await rejection(() => session.evaluate([1])), busy);
    expectFailure(
      thrown(() => session.fork()),
      busy,
    );
    await Promise.all([before, first]);
    await generation.return(undefined);
    await expect(next(session)).resolves.toHaveLength(smallShape.vocabulary);
  });

  test.each<[string, (generation: AsyncGenerator<unknown, void, undefined>) => Promise<unknown>]>([
    ['ended', (generation) => generation.return(undefined)],
    ['given an error', (generation) => rejection(() => generation.throw(new Error('no more')))],
    ['disposed', (generation) => Promise.resolve(generation[Symbol.asyncDispose]())],
    [
      'ended by a stream that is destroyed',
      (generation) => {
        const stream = Readable.from(generation).destroy();
        return new Promise((closed) => stream.once('close', closed));
      },
    ],
  ])('and has been %s, calls wait for that without being told to', async (_how, end) => {
    const [session, expected] = [model().createSession(), model().createSession()];
    const generation = session.generate('Once', { ...drawing, seed: 1 });
    const { value } = await generation.next();
    const ended = end(generation);
    const after = session.evaluate([1]);
    await expect(session.complete('x', { maxTokens: 0 })).resolves.toMatchObject({ text: '' });
    await ended;
    await expected.complete('Once', { ...drawing, seed: 1, maxTokens: value?.tokens.length });
    expect(sameBits(await after, await expected.evaluate([1]))).toBe(true);
  });

  test('another session of the model does what it likes', async () => {
    const generation = model().createSession().generate('Once', drawing);
    await generation.next();
    await expect(model().createSession().evaluate('x')).resolves.toHaveLength(smallShape.vocabulary);
    await generation.return(undefined);
  });

  test('whose loop has ended, however, the session is free', async () => {
    const session = model().createSession();
    const failing = async (): Promise<void> => {
      for await (const part of session.generate('Once', drawing)) throw new Error(`at ${part.text}`);
    };
    expectFailure(await rejection(failing), { message: /^message: at / });
    await expect(next(session)).resolves.toHaveLength(smallShape.vocabulary);
    for await (const part of session.generate('', { ...drawing, maxTokens: 2 })) {
      if (part.finishReason !== undefined) {
        // In the loop's last round already.
        await expect(next(session)).resolves.toHaveLength(smallShape.vocabulary);
      }
    }
  });
});

describe('A fork', () => {
  test('waits for its parent where Promise is that of a library, too', async () => {
    const session = model().createSession();
    const original = globalThis.Promise;
    let fork: Session;
    try {
      globalThis.Promise = class Other<Value> extends original<Value> {};
      void session.evaluate([1, 2]);
      fork = session.fork();
    } finally {
      globalThis.Promise = original;
    }
    await next(fork);
    expect(fork.state.tokens).toBe(2);
  });

  test('is there at once, and is the state after the calls before it, whatever those were', async () => {
    const parent = model().createSession();
    const early = [
      parent.evaluate('one'),
      parent.complete('two', { ...drawing, seed: 5 }),
      parent.score('three'),
    ];
    const branches = [parent.fork(), parent.fork()];
    const late = parent.evaluate('later');
    const branchOfBranch = branches[0]!.fork();
    const found = await Promise.all([...branches, branchOfBranch].map(next));
    await Promise.all([...early, late]);
    const expected = model().createSession();
    await expected.evaluate('one');
    await expected.complete('two', { ...drawing, seed: 5 });
    await expected.score('three');
    for (const each of found) expect(sameBits(each, await next(expected))).toBe(true);
    expect(sameBits(await next(parent), await expected.evaluate('later'))).toBe(true);
  });

  test('of a call that fails is the state without it', async () => {
    const parent = model().createSession();
    await parent.evaluate('one');
    const failed = rejection(() =>
      parent.complete('two', { ...drawing, bannedTokens: Uint32Array.from({ length: 256 }, (_, i) => i) }),
    );
    const branch = parent.fork();
    await failed;
    expect(sameBits(await next(branch), await model().createSession().evaluate('one'))).toBe(true);
  });

  test('draws the same random numbers as its parent without a seed, and others with one', async () => {
    const parent = model().createSession();
    await parent.complete('Once', { ...drawing, seed: 6 });
    const options = { ...drawing, maxTokens: 40 };
    const sessions = [parent.fork(), parent.fork({ seed: 7 }), parent.fork({ seed: 7n }), parent];
    const [same, other, otherAgain, itself] = await Promise.all(
      sessions.map((session) => session.complete('', options)),
    );
    expect(same?.tokens).toEqual(itself?.tokens);
    expect(same?.seed).toBe(6n);
    expect(other?.tokens).not.toEqual(itself?.tokens);
    expect(other?.seed).toBe(7n);
    expect(otherAgain?.tokens).toEqual(other?.tokens);
  });

  test('takes its seed where it waits for its parent, too', async () => {
    const parent = model().createSession();
    const first = parent.complete('Once', { ...drawing, seed: 6 });
    const branch = parent.fork({ seed: 7 });
    const { seed } = await branch.complete('', drawing);
    expect(seed).toBe(7n);
    await first;
    expect((await parent.complete('', drawing)).seed).toBe(6n);
  });

  test('that still waits when its parent is disposed has nothing to continue', async () => {
    const parent = model().createSession();
    const call = rejection(() => parent.evaluate(randomTokens(20_000, smallShape.vocabulary, 3)));
    const branch = parent.fork();
    const calls = [branch, branch.fork()].flatMap((each) => [
      rejection(() => each.evaluate([1])),
      rejection(() => each.complete('x')),
    ]);
    parent.dispose();
    expectFailure(await call, { ...disposed, message: /: the session has been disposed/ });
    const parentDisposed = { ...disposed, message: /is a fork of has been disposed/ };
    for (const error of await Promise.all(calls)) expectFailure(error, parentDisposed);
    for (const use of [() => branch.state, () => branch.fork()]) expectFailure(thrown(use), parentDisposed);
  });

  test('that waited and gets no memory then says so at every call', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('one');
    const branch = parent.fork();
    const failure = { code: 'ERR_WKV_MEMORY', message: /no room/ };
    jest.spyOn(model(), 'createNative').mockImplementationOnce(() => {
      throw new WkvError('ERR_WKV_MEMORY', 'no room');
    });
    const calls = [rejection(() => branch.evaluate([1])), rejection(() => branch.generate('x').next())];
    for (const error of await Promise.all(calls)) expectFailure(error, failure);
    expectFailure(
      thrown(() => branch.state),
      failure,
    );
    expect(sameBits(await call, await next(parent))).toBe(true);
  });

  test('that waits does not keep a session busy whose calls have ended', async () => {
    const session = model().createSession();
    for (const count of [4, 60_000]) {
      const controller = new AbortController();
      const tokens = randomTokens(count, smallShape.vocabulary, 3);
      const call = session.evaluate(tokens, { signal: controller.signal });
      const branches = [session.fork(), session.fork()];
      expectFailure(
        thrown(() => session.state),
        busy,
      );
      if (count > 4) controller.abort();
      await call.catch(() => undefined);
      expect(session.state.tokens).toBe(4);
      expect(session.seed).toBeDefined();
      for (const branch of [...branches, session.fork()]) {
        await next(branch);
        expect(branch.state.tokens).toBe(4);
      }
    }
  });

  test('lives on where the fork that it was made of is disposed while both wait', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('one');
    const branch = parent.fork({ seed: 7 });
    const [first, second] = [branch.fork(), branch.fork({ seed: 8 })];
    branch.dispose();
    await call;
    expect(sameBits(await next(first), await next(parent))).toBe(true);
    expect((await first.complete('', drawing)).seed).toBe(7n);
    expect((await second.complete('', drawing)).seed).toBe(8n);
  });

  test('lives on there, too, after a call of that fork whose signal was aborted before', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('one');
    const branch = parent.fork({ seed: 7 });
    const signal = AbortSignal.abort(new Error('too late'));
    await expect(branch.evaluate('two', { signal })).rejects.toThrow('too late');
    const next = branch.fork();
    branch.dispose();
    await call;
    expect((await next.complete('', drawing)).seed).toBe(7n);
  });

  test('is the state after the calls of the fork that it was made of, where all wait', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('one');
    const branch = parent.fork();
    const before = branch.fork();
    const between = branch.evaluate('two');
    const after = branch.fork();
    const found = await Promise.all([before, after].map(next));
    await Promise.all([call, between]);
    const expected = model().createSession();
    for (const [i, text] of ['one', 'two'].entries()) {
      expect(sameBits(found[i]!, await expected.evaluate(text))).toBe(true);
    }
  });

  test('is the state after a generation of the fork that it was made of, left while all wait', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('x'.repeat(300));
    const branch = parent.fork();
    const generation = branch.generate('hello', drawing);
    const part = generation.next();
    const left = generation.return();
    const after = branch.fork();
    await Promise.all([call, part, left]);
    expect(sameBits(await next(after), await next(branch))).toBe(true);
    expect(after.state.tokens).toBe(branch.state.tokens);
    expect(branch.state.tokens).toBeGreaterThanOrEqual(305);
  });

  test('may be disposed while it waits for its parent', async () => {
    const parent = model().createSession();
    const call = parent.evaluate('one');
    const branch = parent.fork();
    const failed = rejection(() => branch.evaluate([1]));
    branch.dispose();
    expectFailure(await failed, disposed);
    expect(sameBits(await call, await next(parent))).toBe(true);
  });

  test('of each of 300 calls made in one turn gives each what it would have alone', async () => {
    const parent = model().createSession();
    const branches: Session[] = [];
    for (let i = 0; i < 300; i++) {
      void parent.evaluate([i % smallShape.vocabulary], { logits: 'none' });
      branches.push(parent.fork());
    }
    const found = await Promise.all(branches.map(next));
    const expected = model().createSession();
    for (const [i, logits] of found.entries()) {
      expect(sameBits(logits, await expected.evaluate([i % smallShape.vocabulary]))).toBe(true);
    }
  });
});

describe('session.state', () => {
  test('is ERR_WKV_BUSY while calls wait, and free when the last of them is awaited', async () => {
    const session = model().createSession();
    const controller = new AbortController();
    const calls = [
      session.evaluate([1]),
      rejection(() => session.evaluate([2], { signal: controller.signal })),
      session.score([3]),
    ];
    controller.abort();
    expectFailure(
      thrown(() => session.state),
      busy,
    );
    await Promise.all(calls);
    expect(session.state.tokens).toBe(2);
  });

  test('shares its numbers with the session until one of them changes: copy on write', async () => {
    const session = model().createSession();
    await session.evaluate('before');
    const states = Array.from({ length: 5 }, () => session.state);
    const values = session.state.values();
    // In place, where nobody else had the numbers; see "Engine" in docs/decisions.md.
    await session.evaluate([1], { logits: 'none' });
    await session.complete([2], drawing);
    for (const state of states) expect(sameBits(state.values(), values)).toBe(true);
    expect(sameBits(session.state.values(), values)).toBe(false);
  });
});
