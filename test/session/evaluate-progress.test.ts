import { AsyncLocalStorage } from 'node:async_hooks';
import type { EvaluateProgress, Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { callUnchecked, rejection, thrown } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { smallShape, useRandomModel } from '../support/model';

const { model } = useRandomModel();

type Call = (
  session: Session,
  tokens: Uint32Array,
  onProgress: (progress: EvaluateProgress) => void,
) => Promise<unknown>;

const calls: Record<string, Call> = {
  evaluate: (session, tokens, onProgress) => session.evaluate(tokens, { logits: 'none', onProgress }),
  score: (session, tokens, onProgress) => session.score(tokens, { onProgress }),
  complete: (session, tokens, onProgress) => session.complete(tokens, { maxTokens: 3, onProgress }),
  generate: async (session, tokens, onProgress) => {
    for await (const { finishReason } of session.generate(tokens, { maxTokens: 3, onProgress })) {
      if (finishReason !== undefined) return;
    }
  },
  send: async (session, tokens, onProgress) => {
    const text = 'a'.repeat(tokens.length);
    await model().createChat({ session }).complete(text, { maxTokens: 3, onProgress });
  },
};

/** Makes the call with ever longer inputs, until it takes so long that there are as many reports. */
async function reported(
  call: Call,
  report: (progress: EvaluateProgress) => void = () => undefined,
  least = 1,
): Promise<{ seen: EvaluateProgress[]; session: Session; length: number; outcome: Promise<unknown> }> {
  for (let length = 30_000; length < 2_000_000; length *= 2) {
    const session = model().createSession();
    await session.evaluate([1, 2, 3]);
    const seen: EvaluateProgress[] = [];
    const outcome = call(session, randomTokens(length, smallShape.vocabulary, 1), (progress) => {
      seen.push(progress);
      report(progress);
    });
    await outcome.catch(() => undefined);
    if (seen.length >= least) return { seen, session, length, outcome };
  }
  throw new Error(`no input has had ${least} reports`);
}

describe.each(Object.entries(calls))('While the input of %s is evaluated', (name, call) => {
  test('its caller hears how far it is', async () => {
    const storage = new AsyncLocalStorage<string>();
    const contexts = new Set<string | undefined>();
    const { seen, length, outcome } = await storage.run('here', () =>
      reported(call, () => contexts.add(storage.getStore()), 2),
    );
    await outcome;
    const all = seen.map(({ completed }) => completed);
    expect(all).toEqual([...new Set(all)].sort((a, b) => a - b));
    expect(all[0]).toBeGreaterThan(0);
    const total = name === 'send' ? length + 'User: \n\nAssistant:'.length : length;
    expect(all.at(-1)).toBeLessThanOrEqual(total);
    for (const each of seen) expect(each).toMatchObject({ phase: 'evaluate', total });
    expect([...contexts]).toEqual(['here']);
  });

  test('what the callback throws ends the call, and the session is as it was', async () => {
    const failure = new Error('enough');
    const { seen, session, outcome } = await reported(call, () => {
      throw failure;
    });
    expect(await rejection(() => outcome)).toBe(failure);
    expect(seen).toHaveLength(1);
    const same = model().createSession();
    await same.evaluate([1, 2, 3]);
    expect(session.state.tokens).toBe(3);
    expect(sameBits(session.state.values(), same.state.values())).toBe(true);
    await session.evaluate([4]);
  });
});

test('A callback is a function', () => {
  const session = model().createSession();
  expect(thrown(() => callUnchecked(session, 'generate', [[1], { onProgress: 1 }]))).toMatchObject({
    message: 'options.onProgress: expected a function, found 1',
  });
});
