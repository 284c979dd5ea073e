import { setImmediate } from 'node:timers/promises';
import { demoModel, loadModel, type Model, type ModelStatistics, type Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { rejection } from '../support/failure';
import { randomNumbers, randomTokens } from '../support/random-model';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

function makeSessions(model: Model, count: number): Session[] {
  return Array.from({ length: count }, () => model.createSession());
}

/** What the model does during some work. */
async function doneDuring(model: Model, work: () => Promise<unknown>): Promise<ModelStatistics> {
  const before = model.statistics;
  await work();
  const after = model.statistics;
  return {
    steps: after.steps - before.steps,
    tokens: after.tokens - before.tokens,
    sessions: after.sessions - before.sessions,
    largestBatch: after.largestBatch,
  };
}

describe('Calls made in one turn of the event loop', () => {
  test('of 64 sessions with a token each are one step', async () => {
    await withModel(path, {}, async (model) => {
      const sessions = makeSessions(model, 64);
      const done = await doneDuring(model, () => Promise.all(sessions.map((each, i) => each.evaluate([i]))));
      expect(done).toEqual({ steps: 1, tokens: 64, sessions: 64, largestBatch: 64 });
    });
  });

  test('of 64 sessions have their results in one turn, too', async () => {
    await withModel(path, {}, async (model) => {
      let turn = 0;
      const turns = new Set<number>();
      const calls = makeSessions(model, 64).map((each, i) =>
        each.evaluate([i]).then(() => {
          turns.add(turn);
        }),
      );
      const all = Promise.all(calls);
      while (turns.size === 0) {
        turn += 1;
        await setImmediate();
      }
      await all;
      expect(turns.size).toBe(1);
    });
  });

  test('join the step when they are made in promises that follow in that turn', async () => {
    await withModel(path, {}, async (model) => {
      const [one, two, three] = makeSessions(model, 3);
      const later = async (session: Session | undefined, promises: number): Promise<void> => {
        for (let i = 0; i < promises; i++) await Promise.resolve();
        await session?.evaluate([1]);
      };
      const done = await doneDuring(model, () =>
        Promise.all([later(one, 0), later(two, 10), later(three, 100)]),
      );
      expect(done).toMatchObject({ steps: 1, sessions: 3 });
    });
  });

  test('of one session are steps of their own, in their order', async () => {
    await withModel(path, {}, async (model) => {
      const session = model.createSession();
      const done = await doneDuring(model, () =>
        Promise.all([1, 2, 3].map((token) => session.evaluate([token]))),
      );
      expect(done).toMatchObject({ steps: 3, sessions: 3, tokens: 3 });
    });
  });

  test('do not wait for calls of a later turn', async () => {
    await withModel(path, {}, async (model) => {
      const [one, two] = makeSessions(model, 2);
      const done = await doneDuring(model, async () => {
        await one?.evaluate([1]);
        await setImmediate();
        await two?.evaluate([1]);
      });
      expect(done).toMatchObject({ steps: 2, sessions: 2 });
    });
  });

  test('of different kinds, on sessions and their branches, join one step', async () => {
    await withModel(path, {}, async (model) => {
      const parent = model.createSession();
      await parent.evaluate([1, 2, 3]);
      const branch = parent.fork();
      const done = await doneDuring(model, () =>
        Promise.all([
          parent.evaluate([4]),
          branch.evaluate([5], { logits: 'all' }),
          model.createSession().score([6]),
          model.createSession().complete([7], { maxTokens: 0 }),
        ]),
      );
      expect(done).toMatchObject({ steps: 1, sessions: 4 });
    });
  });
});

describe('64 generations at once', () => {
  test('have their tokens evaluated together: on average more than 48 in a step', async () => {
    await withModel(path, {}, async (model) => {
      const loop = async (session: Session, seed: number): Promise<number> => {
        let count = 0;
        for await (const part of session.generate('x', { seed, maxTokens: 40, stopTokens: [] })) {
          count += part.tokens.length;
        }
        return count;
      };
      const sessions = makeSessions(model, 64);
      const counts: number[] = [];
      const done = await doneDuring(model, async () => {
        counts.push(...(await Promise.all(sessions.map((session, i) => loop(session, i)))));
      });
      expect(new Set(counts)).toEqual(new Set([40]));
      expect(done.largestBatch).toBe(64);
      expect(done.sessions / done.steps).toBeGreaterThan(48);
    });
  });
});

describe('maxBatch', () => {
  test('is how many sessions a step has at most', async () => {
    await withModel(path, { maxBatch: 5 }, async (model) => {
      const tokens = randomTokens(30, smallShape.vocabulary, 1);
      const results = await Promise.all(makeSessions(model, 32).map((session) => session.evaluate(tokens)));
      expect(model.statistics.largestBatch).toBe(5);
      const [first] = results;
      expect(results.every((each) => first !== undefined && sameBits(each, first))).toBe(true);
    });
  });

  test('is 64 where nothing else is said', async () => {
    await withModel(path, {}, async (model) => {
      await Promise.all(makeSessions(model, 100).map((session) => session.evaluate([1])));
      expect(model.statistics.largestBatch).toBe(64);
    });
  });
});

describe('A prompt of 20,000 tokens', () => {
  const prompt = randomTokens(20_000, smallShape.vocabulary, 2);

  test('does not hold up a generation that runs beside it', async () => {
    await withModel(path, {}, async (model) => {
      const [long, other] = [model.createSession(), model.createSession()];
      // Without end, as far as this is concerned: a busy machine may do much of it while this thread waits.
      const controller = new AbortController();
      const endless = new Uint32Array(3_000_000);
      const evaluated = rejection(() => long.evaluate(endless, { signal: controller.signal }));
      const parts = other.generate('x', { maxTokens: 1e6, stopTokens: [], seed: 1 });
      const steps: number[] = [];
      for (let i = 0; i < 31; i++) {
        const before = model.statistics.steps;
        await parts.next();
        steps.push(model.statistics.steps - before);
      }
      controller.abort();
      expect(await evaluated).toBe(controller.signal.reason);
      await parts.return(undefined);
      // The step that is under way, and its own; more where this thread waits meanwhile, but not each time.
      expect(Math.min(...steps)).toBeLessThanOrEqual(2);
    });
  });

  test('lets short prompts pass', async () => {
    await withModel(path, {}, async (model) => {
      const order: string[] = [];
      const long = model
        .createSession()
        .evaluate(prompt)
        .then(() => order.push('long'));
      const short = makeSessions(model, 20).map((session) =>
        session.evaluate(prompt.subarray(0, 50)).then(() => order.push('short')),
      );
      await Promise.all([long, ...short]);
      expect(order).toEqual([...Array.from({ length: 20 }, () => 'short'), 'long']);
    });
  });

  test('and others as long, more than fit into a step, are evaluated in turns', async () => {
    await withModel(path, { maxBatch: 2 }, async (model) => {
      const order: number[] = [];
      const calls = [4000, 4000, 100, 4000, 100].map((length, i) =>
        model
          .createSession()
          .evaluate(prompt.subarray(0, length))
          .then(() => order.push(i)),
      );
      await Promise.all(calls);
      expect(order.slice(0, 2).sort()).toEqual([2, 4]);
    });
  });
});

describe('A thousand sessions of the embedded model', () => {
  interface Outcome {
    logits: Float32Array;
    tokens: number[];
  }

  test('with calls aborted and sessions disposed at random give what each gives alone', async () => {
    const model = await loadModel(demoModel);
    const random = randomNumbers(5);
    const variants = Array.from({ length: 40 }, (_, i) => ({
      prompt: randomTokens(1 + Math.floor(random() ** 2 * 60), model.info.vocabulary, i),
      seed: i,
    }));
    type Variant = (typeof variants)[number];
    const finish = async (session: Session, { prompt, seed }: Variant): Promise<Outcome> => {
      const logits = await session.evaluate(prompt);
      const { tokens } = await session.complete([], { seed, maxTokens: 6, stopTokens: [] });
      return { logits, tokens };
    };
    const alone: Outcome[] = [];
    for (const variant of variants) alone.push(await finish(model.createSession(), variant));

    const counts = { finished: 0, aborted: 0, disposed: 0 };
    const live = async (i: number): Promise<boolean> => {
      const session = model.createSession();
      const variant = variants[i % variants.length]!;
      const fate = random();
      const delay = random() ** 2 * 300;
      if (fate < 0.2) {
        const call = rejection(() =>
          Promise.all([finish(session, variant), session.evaluate(randomTokens(500, 256, i))]),
        );
        setTimeout(() => {
          session.dispose();
        }, delay);
        // All was done where the disposal came late.
        const error = await call.catch((late: unknown) => late);
        counts.disposed += Number(error instanceof Error && 'code' in error);
        return true;
      }
      if (fate < 0.5) {
        const controller = new AbortController();
        setTimeout(() => {
          controller.abort();
        }, delay);
        const { signal } = controller;
        const [call] = await Promise.allSettled([session.evaluate(randomTokens(500, 256, i), { signal })]);
        // What was not aborted has changed the session.
        if (call.status === 'fulfilled') return true;
        counts.aborted += 1;
      }
      const { logits, tokens } = await finish(session, variant);
      const expected = alone[i % variants.length]!;
      counts.finished += 1;
      return sameBits(logits, expected.logits) && String(tokens) === String(expected.tokens);
    };
    const right = await Promise.all(Array.from({ length: 1000 }, (_, i) => live(i)));
    expect(right.filter((each) => !each)).toEqual([]);
    expect(counts.finished).toBeGreaterThan(490);
    expect(Math.min(counts.aborted, counts.disposed)).toBeGreaterThan(50);
    await model.dispose();
  });
});
