import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import {
  Tokenizer,
  WkvError,
  loadModel,
  type GenerateOptions,
  type Input,
  type Session,
} from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { smallShape, temporaryFolder, useRandomModel, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const { vocabulary } = smallShape;
const long = randomTokens(60_000, vocabulary, 1);
/** Text of so many UTF-16 units is tokenized on another thread. */
const longText = 'a tale of two cities, '.repeat(600);
const drawing: GenerateOptions = { maxTokens: 5, temperature: 1.5, topP: 1, stopTokens: [] };

const { model, path } = useRandomModel();

/** A session that has seen something and has drawn something. */
async function usedSession(of = model()): Promise<Session> {
  const session = of.createSession();
  await session.complete([1, 2, 3], { ...drawing, seed: 4 });
  return session;
}

/** Checks that a call fails and that the session is then as it was: its state, logits and random numbers. */
async function expectUnchanged(session: Session, call: () => Promise<unknown>): Promise<unknown> {
  const before = session.state.serialize();
  const error = await rejection(call);
  expect(sameBits(session.state.serialize(), before)).toBe(true);
  return error;
}

// One that could be mistaken for one of the addon's.
const reason = new WkvError('ERR_WKV_BUSY', 'no longer wanted');

/** Calls of so few tokens that one step is enough. */
const besideOthers: Record<string, (session: Session, signal: AbortSignal) => Promise<unknown>> = {
  evaluate: (session, signal) => session.evaluate([1, 2, 3], { signal }),
  score: (session, signal) => session.score([1, 2, 3], { signal }),
  'complete of a prompt': (session, signal) => session.complete([1, 2, 3], { maxTokens: 0, signal }),
  'complete of a token': (session, signal) =>
    session.complete([1, 2, 3], { maxTokens: 1, stopTokens: [], signal }),
};

/** More tries than one needs whose thread now and then waits for a processor. */
const tries = 50;

/**
 * Checks that a call with this many tokens, aborted in the same turn, in the next, or after so many steps of the model,
 * leaves a session as it was. Where this thread had no turn until all was evaluated, it tries another session.
 */
async function expectUnchangedByAbort(
  steps: number | undefined,
  count: number,
  call: (session: Session, signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < tries; i++) {
    const session = await usedSession();
    const bytes = session.state.serialize();
    const controller = new AbortController();
    const before = model().statistics;
    const settled = Promise.allSettled([call(session, controller.signal)]);
    if (steps !== undefined) {
      do await setImmediate();
      while (model().statistics.steps < before.steps + steps);
    }
    const evaluated = model().statistics.tokens - before.tokens;
    controller.abort(reason);
    const [result] = await settled;
    if (result.status === 'rejected') {
      expect(result.reason).toBe(reason);
      expect(sameBits(session.state.serialize(), bytes)).toBe(true);
      return;
    }
    // But for the step that was under way, of 128 tokens.
    expect(evaluated).toBeGreaterThanOrEqual(count - 128);
  }
  throw new Error('every call ended before it was aborted');
}

describe('A session is as it was, to the last bit, after', () => {
  const calls: Record<string, (session: Session, input: Input, signal: AbortSignal) => Promise<unknown>> = {
    evaluate: (session, input, signal) => session.evaluate(input, { signal }),
    "evaluate with 'all' logits": (session, input, signal) =>
      session.evaluate(input, { signal, logits: 'all' }),
    score: (session, input, signal) => session.score(input, { signal }),
    complete: (session, input, signal) => session.complete(input, { ...drawing, seed: 9, signal }),
    'the first next() of generate': (session, input, signal) =>
      session.generate(input, { ...drawing, seed: 9, signal }).next(),
  };

  describe.each(Object.entries(calls))('%s', (_name, call) => {
    test.each([
      ['in the same turn', undefined],
      ['in the next', 0],
      // It takes hundreds.
      ['after 2 steps', 2],
      ['after 30 steps', 30],
    ])('that is aborted %s', async (_when, steps) => {
      await expectUnchangedByAbort(steps, long.length, (session, signal) => call(session, long, signal));
    });

    test('that is aborted in a text that is tokenized on another thread', async () => {
      for (const steps of [undefined, 0, 2]) {
        await expectUnchangedByAbort(steps, longText.length, (session, signal) =>
          call(session, longText, signal),
        );
      }
    });
  });

  const bannedTokens = Uint32Array.from({ length: vocabulary }, (_, id) => id);
  test.each([
    ['one token', [5]],
    ['many tokens', [5, 6, 7]],
    ['text', 'xyz'],
    ['nothing', []],
  ])('a generation with nothing to draw from after %s', async (_what, prompt: Input) => {
    const session = await usedSession();
    const options = { ...drawing, seed: 9, bannedTokens };
    for (const call of [
      () => session.complete(prompt, options),
      () => session.generate(prompt, options).next(),
      () => session.complete(prompt, { ...options, signal: new AbortController().signal }),
    ]) {
      expectFailure(await expectUnchanged(session, call), { code: 'ERR_WKV_STATE' });
    }
  });

  test.each<[string, GenerateOptions]>([
    ['', {}],
    [' that counts for the session', { penalties: 'session', presencePenalty: 1 }],
    [' with text held back', { stop: ['\0'.repeat(4000)] }],
  ])('a complete()%s that is aborted among its tokens', async (_how, options) => {
    const session = await usedSession();
    for (let steps = 0; steps < 8; steps++) {
      const controller = new AbortController();
      const { steps: before } = model().statistics;
      const call = (): Promise<unknown> =>
        session.complete([5, 6], {
          ...drawing,
          ...options,
          seed: 9,
          maxTokens: 1e6,
          signal: controller.signal,
        });
      const error = expectUnchanged(session, call);
      while (model().statistics.steps < before + 2 + steps) await setImmediate();
      controller.abort(reason);
      expect(await error).toBe(reason);
    }
  });

  test('a complete() whose tokens cannot be decoded', async () => {
    const bytes = Tokenizer.bytes();
    let left = Infinity;
    const tokenizer = Object.assign(Tokenizer.bytes(), {
      decodeBytes: (tokens: Uint32Array | readonly number[]) => {
        if (left-- === 0) throw reason;
        return bytes.decodeBytes(tokens);
      },
    });
    await withModel(path, { tokenizer }, async (other) => {
      const session = await usedSession(other);
      left = 3;
      expect(await expectUnchanged(session, () => session.complete([5, 6], drawing))).toBe(reason);
    });
  });

  test("logits that would take more than 1 GiB, and score's hint", async () => {
    const wide = await writeRandomModel(folder, 'wide', {
      ...smallShape,
      layers: 1,
      embedding: 16,
      feedForward: 16,
      vocabulary: 65_536,
    });
    await withModel(wide, { tokenizer: Tokenizer.bytes() }, async (other) => {
      const session = await usedSession(other);
      for (const input of [new Uint32Array(4097), longText]) {
        const error = await expectUnchanged(session, () => session.evaluate(input, { logits: 'all' }));
        expectFailure(error, { code: 'ERR_OUT_OF_RANGE', message: /score/ });
      }
    });
  });
});

describe('A text that is tokenized on another thread', () => {
  test('gives what its tokens give', async () => {
    const tokens = Tokenizer.bytes().encode(longText);
    const [text, ids] = [model().createSession(), model().createSession()];
    expect(sameBits(await text.evaluate(longText), await ids.evaluate(tokens))).toBe(true);
    expect(sameBits(await text.score(longText), await ids.score(tokens))).toBe(true);
    const options = { ...drawing, seed: 3 };
    expect(await text.complete(longText, options)).toEqual(await ids.complete(tokens, options));
  });

  test('keeps its place among the calls of its session', async () => {
    const session = model().createSession();
    await Promise.all([
      session.evaluate('first', { logits: 'none' }),
      session.evaluate(longText, { logits: 'none' }),
      session.complete('third', { ...drawing, temperature: 0, maxTokens: 1 }),
      session.score(longText),
      session.evaluate('fifth', { logits: 'none' }),
    ]);
    const expected = model().createSession();
    await expected.evaluate('first');
    await expected.evaluate(longText);
    await expected.complete('third', { ...drawing, temperature: 0, maxTokens: 1 });
    await expected.evaluate(longText);
    await expected.evaluate('fifth');
    expect(sameBits(session.state.values(), expected.state.values())).toBe(true);
  });

  test('is behind the fork that was made before it, and before the one made after it', async () => {
    const session = model().createSession();
    const first = session.evaluate('first', { logits: 'none' });
    const before = session.fork();
    const call = session.evaluate(longText, { logits: 'none' });
    const after = session.fork();
    await Promise.all([first, call]);
    expect(sameBits(await before.evaluate([]), await model().createSession().evaluate('first'))).toBe(true);
    expect(sameBits(await after.evaluate([]), await session.evaluate([]))).toBe(true);
  });

  test('holds up no other session', async () => {
    const order: string[] = [];
    await Promise.all([
      model()
        .createSession()
        .evaluate('x'.repeat(60_000), { logits: 'none' })
        .then(() => order.push('long')),
      model()
        .createSession()
        .evaluate('short', { logits: 'none' })
        .then(() => order.push('short')),
    ]);
    expect(order).toEqual(['short', 'long']);
  });

  test('rejects where it has tokens that the model does not have, and the calls behind it go on', async () => {
    const narrow = await writeRandomModel(folder, 'narrow', { ...smallShape, vocabulary: 100 });
    await withModel(narrow, { tokenizer: Tokenizer.bytes() }, async (other) => {
      const session = await usedSession(other);
      const text = `${'A'.repeat(20_000)}~`;
      for (const call of [
        () => session.evaluate(text),
        () => session.score(text),
        () => session.complete(text, drawing),
        () => session.generate(text, drawing).next(),
      ]) {
        const error = await expectUnchanged(session, call);
        expectFailure(error, { code: 'ERR_WKV_TOKEN', message: /126/ });
      }
      const failed = rejection(() => session.evaluate(text));
      await expect(session.evaluate('AB')).resolves.toHaveLength(100);
      expectFailure(await failed, { code: 'ERR_WKV_TOKEN' });
    });
  });

  test('rejects where the vocabulary lacks one of its bytes, naming it and its place', async () => {
    const file = join(folder, 'letters.txt');
    writeFileSync(file, "1 'a' 1\n2 'b' 1\n");
    await withModel(path, { tokenizer: Tokenizer.fromVocabulary(file) }, async (other) => {
      const session = other.createSession();
      const error = await expectUnchanged(session, () => session.evaluate(`${'ab'.repeat(10_000)}c`));
      expectFailure(error, { code: 'ERR_WKV_TOKEN', message: /0x63.*20000/ });
    });
  });

  test('is forgotten where its call fails for another reason: no rejection is left unhandled', async () => {
    const narrow = await writeRandomModel(folder, 'narrower', { ...smallShape, vocabulary: 100 });
    const unhandled: unknown[] = [];
    const listener = (reason: unknown): void => {
      unhandled.push(reason);
    };
    process.on('unhandledRejection', listener);
    await withModel(narrow, { tokenizer: Tokenizer.bytes() }, async (other) => {
      const text = '~'.repeat(20_000);
      const session = other.createSession();
      // Never begun, refused, aborted before its turn, disposed: each has a text that cannot be had.
      session.generate(text, drawing);
      await rejection(() => session.evaluate(text, { signal: AbortSignal.abort() }));
      const generation = session.generate([1], drawing);
      await generation.next();
      expectFailure(await rejection(() => session.evaluate(text)), { code: 'ERR_WKV_BUSY' });
      await generation.return(undefined);
      session.dispose();
      expectFailure(await rejection(() => session.evaluate(text)), { code: 'ERR_WKV_DISPOSED' });
      await setTimeout(50);
      await setImmediate();
    });
    process.off('unhandledRejection', listener);
    expect(unhandled).toEqual([]);
  });

  test('of a session that is disposed meanwhile is ERR_WKV_DISPOSED', async () => {
    const session = model().createSession();
    const failed = rejection(() => session.evaluate(longText));
    session.dispose();
    expectFailure(await failed, { code: 'ERR_WKV_DISPOSED' });
  });

  test('of a model that is disposed meanwhile is ERR_WKV_DISPOSED', async () => {
    const other = await loadModel(path, { tokenizer: Tokenizer.bytes() });
    const failed = rejection(() => other.createSession().evaluate(longText));
    await other.dispose();
    expectFailure(await failed, { code: 'ERR_WKV_DISPOSED' });
  });
});

test.each(Object.entries(besideOthers))(
  'An aborted %s rejects, also where its last step is one that others go on with',
  async (_name, call) => {
    // A step of it takes some milliseconds.
    const shape = { ...smallShape, layers: 6, embedding: 256, headSize: 32, feedForward: 896 };
    const slow = await writeRandomModel(folder, 'slow', shape);
    const over = new AbortController();
    await withModel(slow, { threads: 1 }, async (model) => {
      const busy = model.createSession().evaluate(long, { logits: 'none', signal: over.signal });
      const used = await usedSession(model);
      const before = used.state.serialize();
      let rejected = 0;
      for (let i = 0; i < 24; i++) {
        const session = used.fork();
        const controller = new AbortController();
        const ended = jest.fn();
        const promise = call(session, controller.signal).finally(ended);
        await setTimeout((7 * i) % 40);
        const wasOver = ended.mock.calls.length > 0;
        controller.abort(reason);
        if (wasOver) {
          await promise;
          continue;
        }
        expect(await rejection(() => promise)).toBe(reason);
        expect(sameBits(session.state.serialize(), before)).toBe(true);
        rejected += 1;
      }
      expect(rejected).toBeGreaterThan(0);
      over.abort(reason);
      await rejection(() => busy);
    });
  },
);
