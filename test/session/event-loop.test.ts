import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { State, Tokenizer, loadModel, type Model } from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import {
  runChild,
  smallShape,
  temporaryFolder,
  useRandomModel,
  withModel,
  writeRandomModel,
} from '../support/model';

const folder = temporaryFolder();
const { vocabulary } = smallShape;

const { model, path } = useRandomModel();

/** How many turns the event loop makes until a promise settles. Where work blocks it there are hardly any. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  const settled = { yet: false };
  const settle = (): void => {
    settled.yet = true;
  };
  void work.then(settle, settle);
  let turns = 0;
  for (; !settled.yet; turns++) await setImmediate();
  return turns;
}

/** A turn takes a few microseconds, and these calls a tenth of a second and more. */
const many = 50;

/**
 * Checks that the event loop turns while work is done, and returns its last result. Where this thread waited for a
 * processor until the work was over, it is done again: what blocks the loop blocks it each time.
 */
async function expectTurnsDuring<Result>(begin: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    const work = begin();
    const turns = await turnsDuring(work);
    if (turns > many || tries === 10) {
      expect(turns).toBeGreaterThan(many);
      return await work;
    }
    await Promise.allSettled([work]);
  }
}

describe('The event loop turns on', () => {
  test('while a prompt is evaluated', async () => {
    await expectTurnsDuring(() =>
      model()
        .createSession()
        .evaluate(randomTokens(10_000, vocabulary, 1)),
    );
  });

  test('while a long text is tokenized', async () => {
    // The last character is no token of this model: nothing is evaluated, but everything tokenized.
    const narrow = await writeRandomModel(folder, 'narrow', { ...smallShape, vocabulary: 100 });
    await withModel(narrow, { tokenizer: Tokenizer.bytes() }, async (other) => {
      const text = `~${'A'.repeat(20_000_000)}`;
      const error = await expectTurnsDuring(() => rejection(() => other.createSession().evaluate(text)));
      expectFailure(error, { code: 'ERR_WKV_TOKEN' });
    });
  });

  test('while a model is loaded and disposed', async () => {
    const large = await writeRandomModel(folder, 'large', {
      ...smallShape,
      embedding: 256,
      feedForward: 2048,
      vocabulary: 20_000,
    });
    let other: Model | undefined;
    await expectTurnsDuring(async () => {
      // The last one gone, the weights are read again.
      await other?.dispose();
      other = await loadModel(large, { threads: 1 });
    });
    const call = rejection(() => other!.createSession().evaluate(new Uint32Array(100_000)));
    await setImmediate();
    await other!.dispose();
    expectFailure(await call, { code: 'ERR_WKV_DISPOSED' });
  });

  test('while states are serialized and read', async () => {
    // 64 MiB.
    const deep = await writeRandomModel(folder, 'deep', {
      ...smallShape,
      layers: 1,
      embedding: 16,
      headSize: 4096,
      heads: 1,
      feedForward: 16,
    });
    await withModel(deep, {}, async (other) => {
      const session = other.createSession();
      await session.evaluate([1]);
      const { state } = session;
      const [f32, f16] = await expectTurnsDuring(() =>
        Promise.all([state.serializeAsync(), state.serializeAsync({ precision: 'f16' })]),
      );
      expect(sameBits(f32, state.serialize())).toBe(true);
      expect(sameBits(f16, state.serialize({ precision: 'f16' }))).toBe(true);
      const again = await expectTurnsDuring(() => State.deserializeAsync(f16));
      expect(sameBits(again.values(), State.deserialize(f16).values())).toBe(true);
    });
  });

  test('while 64 sessions generate', async () => {
    await expectTurnsDuring(() =>
      Promise.all(
        Array.from({ length: 64 }, (_, seed) =>
          model().createSession().complete('x', { seed, maxTokens: 50 }),
        ),
      ),
    );
  });
});

describe('State.serializeAsync and State.deserializeAsync', () => {
  test('give what their synchronous forms give, and fail as those do', async () => {
    const session = model().createSession();
    for (const input of ['', 'something']) {
      if (input !== '') await session.evaluate(input);
      const { state } = session;
      expect(sameBits(await state.serializeAsync(), state.serialize())).toBe(true);
      for (const precision of ['f32', 'f16'] as const) {
        const bytes = await state.serializeAsync({ precision });
        expect(sameBits(bytes, state.serialize({ precision }))).toBe(true);
        const [one, other] = [await State.deserializeAsync(bytes), State.deserialize(bytes)];
        expect(sameBits(one.values(), other.values())).toBe(true);
        expect([one.tokens, one.fingerprint]).toEqual([other.tokens, other.fingerprint]);
      }
    }
    const damaged = session.state.serialize();
    damaged[200]! ^= 1;
    expectFailure(await rejection(() => State.deserializeAsync(damaged)), { code: 'ERR_WKV_STATE' });
  });

  test('beside running sessions disturb nobody and are not disturbed', async () => {
    const tokens = randomTokens(3000, vocabulary, 2);
    const expected = await model().createSession().evaluate(tokens);
    const saved = model().createSession();
    await saved.evaluate('to be saved');
    const { state } = saved;
    const bytes = state.serialize();
    const idle = model().createSession({ state });
    const running = [saved, ...Array.from({ length: 7 }, () => model().createSession())].map((session) =>
      session.evaluate(tokens),
    );
    const states: Promise<Uint8Array>[] = [];
    const settled = { yet: false };
    void Promise.all(running).then(() => {
      settled.yet = true;
    });
    while (!settled.yet) {
      if (states.length < 300) states.push(state.serializeAsync());
      // In place, on this thread, while the engine works on the session's own copy.
      expect(state.values()).toHaveLength(model().info.stateBytes / 4);
      expect(idle.state.tokens).toBe('to be saved'.length);
      await setImmediate();
    }
    const [, ...others] = await Promise.all(running);
    for (const each of others) expect(sameBits(each, expected)).toBe(true);
    for (const each of await Promise.all(states)) expect(sameBits(each, bytes)).toBe(true);
    expect(sameBits(state.serialize(), bytes)).toBe(true);
  });

  test('keep the process alive until they are done, as evaluations do', async () => {
    const ended = await runChild(join(__dirname, 'child-ends.ts'), ['pending-state', path]);
    expect(ended).toEqual({ code: 0, stdout: 'saved and read', stderr: '' });
  });
});

describe('Two models in one process', () => {
  test('share one thread pool, and give what each gives alone, whatever the other does', async () => {
    const [one, two] = await Promise.all(
      [3, 4].map((seed) => writeRandomModel(folder, `model-${seed}`, { ...smallShape, seed })),
    );
    const { code, stdout, stderr } = await runChild(join(__dirname, 'child-two-models.ts'), [one!, two!]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { same, threads } = JSON.parse(stdout) as { same: boolean; threads: number[] };
    expect(same).toBe(true);
    if (process.platform === 'linux') {
      const [withOne = NaN, withTwo = NaN, withThree = NaN, withNone = NaN] = threads;
      // A model has one thread of its own: the one that gathers its steps. The pool's are there already.
      expect([withTwo - withOne, withThree - withOne]).toEqual([1, 2]);
      expect(withNone).toBe(withOne - 1);
    }
  });
});

test('Fake timers hold up no model, neither while they are there nor later', async () => {
  const ended = await runChild(join(__dirname, 'child-fake-timers.ts'), [path], { timeout: 20_000 });
  // Node warns that its own fake timers are experimental.
  expect(ended).toMatchObject({ code: 0, stdout: '0' });
});
