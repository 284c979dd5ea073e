import { WkvError } from '../../lib/index';
import { logSoftmax } from '../reference/common';
import { largestDifference, sameBits } from '../support/compare';
import { expectFailure, rejection } from '../support/failure';
import { randomModel, randomTokens } from '../support/random-model';
import { underEmulator, unless } from '../support/unless';
import {
  oracle,
  smallShape,
  temporaryFolder,
  useRandomModel,
  withModel,
  writeRandomModel,
} from '../support/model';

const folder = temporaryFolder();
const { vocabulary } = smallShape;

const { model } = useRandomModel();

describe('evaluate', () => {
  test('takes text, a Uint32Array or numbers', async () => {
    const fromText = await model().createSession().evaluate('né');
    expect(sameBits(await model().createSession().evaluate([110, 195, 169]), fromText)).toBe(true);
    expect(
      sameBits(
        await model()
          .createSession()
          .evaluate(Uint32Array.of(110, 195, 169)),
        fromText,
      ),
    ).toBe(true);
  });

  test("returns [vocabulary] for 'last', which is the default, [tokens * vocabulary] for 'all', nothing for 'none'", async () => {
    const [last, byDefault, all, none] = await Promise.all([
      model().createSession().evaluate([1, 2, 3], { logits: 'last' }),
      model().createSession().evaluate([1, 2, 3]),
      model().createSession().evaluate([1, 2, 3], { logits: 'all' }),
      model().createSession().evaluate([1, 2, 3], { logits: 'none' }),
    ]);
    expect(last).toHaveLength(vocabulary);
    expect(sameBits(byDefault, last)).toBe(true);
    expect(all).toHaveLength(3 * vocabulary);
    expect(sameBits(all.subarray(-vocabulary), last)).toBe(true);
    expect(none).toBeUndefined();
  });

  test('puts nothing in front of the tokens', async () => {
    const session = model().createSession();
    expect(session.state.values().every((value) => value === 0)).toBe(true);
    const expected = oracle(randomModel(smallShape), [65]).logits[0] ?? [];
    expect(largestDifference(await session.evaluate('A'), expected)).toBeLessThan(1e-4);
  });

  test("returns the last logits again for '' and []", async () => {
    const session = model().createSession();
    const last = await session.evaluate('story');
    expect(sameBits(await session.evaluate(''), last)).toBe(true);
    expect(sameBits(await session.evaluate([]), last)).toBe(true);
    expect(sameBits(await session.evaluate(new Uint32Array()), last)).toBe(true);
    expect(await session.evaluate([], { logits: 'all' })).toHaveLength(0);
    expect(sameBits(await session.evaluate([]), last)).toBe(true);
  });

  test('says so where a session that has seen nothing is asked for its last logits', async () => {
    const error = await rejection(() => model().createSession().evaluate([]));
    expectFailure(error, { code: 'ERR_WKV_STATE' });
  });

  test('does not read through to memory that a token array shares or changes', async () => {
    const shared = new Uint32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    const expected = await model().createSession().evaluate([3, 4]);
    const call = model().createSession().evaluate(shared);
    shared.fill(vocabulary + 1);
    expect(sameBits(await call, expected)).toBe(true);
  });

  test.each([
    ['a token outside the model', [1, vocabulary, 2]],
    ['the largest token id', [0xffffffff]],
  ])('rejects %s with its code and leaves the session as it was', async (_what, tokens) => {
    const session = model().createSession();
    const last = await session.evaluate('abc');
    const before = session.state.values();
    for (const input of [tokens, Uint32Array.from(tokens)]) {
      const error = await rejection(() => session.evaluate(input));
      expectFailure(error, { code: 'ERR_WKV_TOKEN', message: /256|4294967295/ });
    }
    expect(sameBits(session.state.values(), before)).toBe(true);
    expect(sameBits(await session.evaluate([]), last)).toBe(true);
  });

  test('refuses text where there is no tokenizer, and takes tokens', async () => {
    const odd = await writeRandomModel(folder, 'odd', { ...smallShape, vocabulary: 300 });
    await withModel(odd, {}, async (without) => {
      const session = without.createSession();
      expectFailure(await rejection(() => session.evaluate('text')), { code: 'ERR_WKV_TOKEN' });
      expect(await session.evaluate([299])).toHaveLength(300);
      expect((await session.complete([299], { stop: [], maxTokens: 1 })).tokens).toHaveLength(1);
    });
  });
});

describe('An aborted evaluate', () => {
  const long = randomTokens(60_000, vocabulary, 5);

  test('does nothing where the signal was aborted before', async () => {
    const session = model().createSession();
    const reason = new Error('too late');
    expect(await rejection(() => session.evaluate([1], { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(session.state.values().every((value) => value === 0)).toBe(true);
  });

  unless(underEmulator)('rejects at once where it still waits for a call before it', async () => {
    const session = model().createSession();
    const [first, second] = [new AbortController(), new AbortController()];
    const reason = new WkvError('ERR_WKV_DISPOSED', 'no longer needed');
    const running = rejection(() => session.evaluate(new Uint32Array(3_000_000), { signal: first.signal }));
    const waiting = rejection(() => session.evaluate([1], { signal: second.signal }));
    second.abort(reason);
    // The call in front of it takes seconds.
    expect(await Promise.race([waiting, running])).toBe(reason);
    first.abort();
    await running;
    expect(session.state.values().every((value) => value === 0)).toBe(true);
  });

  test('does not disturb the calls before and behind it', async () => {
    const session = model().createSession();
    const controller = new AbortController();
    const calls = Promise.allSettled([
      session.evaluate([1, 2]),
      session.evaluate(long, { signal: controller.signal }),
      session.evaluate([3, 4]),
    ]);
    controller.abort();
    const [first, aborted, last] = await calls;
    expect([first.status, aborted.status, last.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const expected = await model().createSession().evaluate([1, 2, 3, 4]);
    expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  });

  unless(underEmulator)('ends soon: well before the evaluation would have', async () => {
    const session = model().createSession();
    const controller = new AbortController();
    const endless = new Uint32Array(3_000_000);
    const call = rejection(() => session.evaluate(endless, { signal: controller.signal, logits: 'none' }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { tokens } = model().statistics;
    controller.abort();
    await call;
    // Of three million, which take seconds; 100 ms are promised. In milliseconds a busy machine has its share.
    expect(model().statistics.tokens - tokens).toBeLessThan(30_000);
  });
});

describe('score', () => {
  const tensors = randomModel(smallShape);
  const tokens = randomTokens(50, vocabulary, 8);

  test('gives the log-probability of each token, given those before it, as the oracle has it', async () => {
    const { logits } = oracle(tensors, tokens);
    const session = model().createSession();
    await session.evaluate(tokens.subarray(0, 10));
    const found = await session.score(tokens.subarray(10));
    const expected = Array.from(
      tokens.subarray(10),
      (token, i) => logSoftmax(logits[9 + i] ?? new Float64Array())[token] ?? NaN,
    );
    // As for logits: 1e-4.
    expect(largestDifference(found, expected)).toBeLessThanOrEqual(1e-4);
  });

  test('leaves the session after the tokens', async () => {
    const session = model().createSession();
    await session.evaluate(tokens.subarray(0, 10));
    await session.score(tokens.subarray(10));
    const expected = await model().createSession().evaluate(tokens);
    expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  });
});

describe('fork', () => {
  test('gives a copy that neither sees nor disturbs the other', async () => {
    const parent = model().createSession();
    await parent.evaluate('the tale of ');
    const before = parent.state.values();
    const branch = parent.fork();
    await branch.evaluate('a cat');
    expect(sameBits(parent.state.values(), before)).toBe(true);
    const expected = await model().createSession().evaluate('the tale of two cities');
    expect(sameBits(await parent.evaluate('two cities'), expected)).toBe(true);
  });

  test('has the last logits of its parent', async () => {
    const parent = model().createSession();
    const last = await parent.evaluate('the tale of ');
    expect(sameBits(await parent.fork().evaluate([]), last)).toBe(true);
  });
});
