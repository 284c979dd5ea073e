import { Tokenizer, loadModel, type GenerateOptions, type Model, type SamplerStep } from '../../lib/index';
import { logSoftmax } from '../reference/common';
import { largestDifference } from '../support/compare';
import { callUnchecked, expectFailure, invalidArgument, outOfRange, thrown } from '../support/failure';
import { Pieces } from '../support/pieces';
import { indexOfLargest, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const pieces = new Pieces([
  'a',
  'b',
  'c',
  'd',
  'e',
  'f',
  'g',
  'h',
  'i',
  'j',
  '1',
  '12',
  '\t',
  ' ',
  '34',
  'x1',
  '9',
  ...['13', '31', '43', '99', '\t\t', '  ', ' 1', '24'],
]);
const flat: GenerateOptions = { temperature: 5, topP: 1, stopTokens: [], maxTokens: 80, seed: 3 };

let model: Model;
let bytes: Model;
beforeAll(async () => {
  const path = await writeRandomModel(folder, 'small');
  model = await loadModel(path, { tokenizer: pieces });
  bytes = await loadModel(path, { tokenizer: Tokenizer.bytes() });
});
afterAll(() => Promise.all([model.dispose(), bytes.dispose()]));

const complete = (options: GenerateOptions, on = model) => on.createSession().complete('ab', options);

describe('the sampling options of a generation', () => {
  test('penalize tokens of the generation, and not its digits and white space beyond their presence', async () => {
    // At temperature 0 with heavy penalties: the most probable token that is not yet worn out, found step by step.
    const options = { presencePenalty: 0.5, frequencyPenalty: 0.7, penaltyDecay: 0.9 };
    const plain = { temperature: 0, stopTokens: [], maxTokens: 100 };
    const { tokens } = await complete({ ...options, ...plain, logitBias: { 0: 1 } });
    const session = model.createSession();
    let logits = await session.evaluate('ab');
    const counts = new Map<number, number>();
    const exempt = new Set(
      pieces.pieces.flatMap((piece, i) => (' \t0123456789'.includes(String(piece)) ? [i + 1] : [])),
    );
    // '1', '12', tab, space, '34' and '9', but not 'x1', '13' and its likes, or the end of text
    expect(exempt.size).toBe(6);
    for (const token of tokens) {
      logits[0]! += 1; // the end of text would never be drawn without it
      for (const [id, count] of counts) logits[id] = (logits[id] ?? 0) - (0.5 + count * 0.7);
      expect(token).toBe(indexOfLargest(logits.subarray(0, pieces.size)));
      for (const [id, count] of counts) counts.set(id, count * 0.9);
      counts.set(token, (counts.get(token) ?? 0) + (exempt.has(token) ? 0 : 1));
      logits = await session.evaluate([token]);
    }
    expect(new Set(tokens).size).toBeGreaterThan(5);
  });

  test('are by default ChatRWKV’s, but without penalties where tokens are single bytes', async () => {
    const chatRwkv = { temperature: 1, topP: 0.85, topK: 0, penaltyDecay: 0.996 };
    const penalties = { presencePenalty: 0.2, frequencyPenalty: 0.2 };
    const none = { presencePenalty: 0, frequencyPenalty: 0 };
    const plain = { seed: 1, stopTokens: [], maxTokens: 120 };
    const byDefault = await complete(plain);
    expect(byDefault.tokens).toEqual((await complete({ ...plain, ...chatRwkv, ...penalties })).tokens);
    expect(byDefault.tokens).not.toEqual((await complete({ ...plain, ...none })).tokens);
    const ofBytes = await complete(plain, bytes);
    expect(ofBytes.tokens).toEqual((await complete({ ...plain, ...chatRwkv, ...none }, bytes)).tokens);
    expect(ofBytes.tokens).not.toEqual((await complete({ ...plain, ...penalties }, bytes)).tokens);
  });

  test('start to count anew in each generation, or go on through the session', async () => {
    const worn: GenerateOptions = {
      temperature: 0,
      stopTokens: [],
      maxTokens: 1,
      presencePenalty: 50,
      penaltyExempt: [],
    };
    const anew = model.createSession();
    const goesOn = model.createSession();
    await Promise.all([anew.evaluate('ab'), goesOn.evaluate('ab')]);
    const seen = new Set<number>();
    for (let i = 0; i < 10; i++) {
      const { tokens } = await goesOn.complete('', { ...worn, penalties: 'session' });
      expect(seen.has(tokens[0] ?? NaN)).toBe(false);
      seen.add(tokens[0] ?? NaN);
    }
    // A saved session goes on counting.
    const resumed = model.createSession({ state: goesOn.state });
    const next = await resumed.complete('', { ...worn, penalties: 'session' });
    expect(seen.has(next.tokens[0] ?? NaN)).toBe(false);
    // Without the session's counts its most probable token comes whatever was there before.
    const logits = await anew.evaluate('');
    const { tokens } = await anew.complete('', worn);
    expect(tokens).toEqual([indexOfLargest(logits.subarray(0, pieces.size))]);
  });

  test('ban tokens, bend the odds of single ones, and keep to the most probable', async () => {
    expect(
      (await complete({ ...flat, bannedTokens: [3, 4, 5] })).tokens.some((id) => id >= 3 && id <= 5),
    ).toBe(false);
    expect((await complete({ ...flat, logitBias: { 6: 1000 } })).text).toBe('f'.repeat(80));
    expect((await complete({ ...flat, logitBias: new Map([[6, 1000]]) })).text).toBe('f'.repeat(80));
    expect(
      (await complete({ ...flat, logitBias: { 6: 1000, 7: -Infinity }, bannedTokens: [6] })).text,
    ).not.toMatch(/[fg]/);
    const greedy = await complete({ ...flat, temperature: 0, presencePenalty: 0, frequencyPenalty: 0 });
    for (const narrow of [
      { topK: 1 },
      { minP: 1 },
      { topP: 0 },
      { topP: 0, samplerOrder: fromTemperature },
    ]) {
      const none = { presencePenalty: 0, frequencyPenalty: 0 };
      expect((await complete({ ...flat, ...none, ...narrow })).tokens).toEqual(greedy.tokens);
    }
  });

  const fromTemperature: SamplerStep[] = ['temperature', 'topK', 'topP', 'minP', 'typicalP'];

  test('take effect in the order that is asked for', async () => {
    const narrow: GenerateOptions = { ...flat, topP: 0.5 };
    // Top-p after a high temperature lets more tokens in.
    const after = new Set((await complete({ ...narrow, samplerOrder: fromTemperature })).tokens);
    const before = new Set((await complete(narrow)).tokens);
    expect(after.size).toBeGreaterThan(before.size);
  });

  test('report log-probabilities of the model itself, for each token that was delivered', async () => {
    const { tokens, logprobs } = await complete({
      ...flat,
      maxTokens: 20,
      logprobs: 3,
      bannedTokens: [1, 2],
    });
    expect(logprobs?.map(({ token }) => token)).toEqual(tokens);
    const session = model.createSession();
    let logits = await session.evaluate('ab');
    for (const { token, logprob, top } of logprobs ?? []) {
      const expected = logSoftmax(Float64Array.from(logits));
      const order = Array.from(expected.keys()).sort((a, b) => (expected[b] ?? 0) - (expected[a] ?? 0));
      expect(top.map((each) => each.token)).toEqual(order.slice(0, 3));
      const found = [logprob, ...top.map((each) => each.logprob)];
      const wanted = [token, ...order.slice(0, 3)].map((id) => expected[id] ?? NaN);
      // The sum of 256 exponentials is taken in floats, with about seven digits.
      expect(largestDifference(found, wanted)).toBeLessThan(1e-5);
      logits = await session.evaluate([token]);
    }
    expect(Object.keys(await complete(flat))).not.toContain('logprobs');
  });

  test('are given again by the seed that is reported, or by the state before a later generation', async () => {
    const options = { ...flat, seed: undefined };
    const session = model.createSession();
    const first = await session.complete('ab', options);
    const before = session.state;
    const later = await session.complete('cd', options);
    expect(later.seed).toBe(first.seed);
    const again = model.createSession();
    expect(await again.complete('ab', { ...options, seed: first.seed })).toEqual(first);
    expect(await again.complete('cd', options)).toEqual(later);
    expect(await model.createSession({ state: before }).complete('cd', options)).toEqual(later);
    const reseeded = await model
      .createSession({ state: before })
      .complete('cd', { ...options, seed: later.seed });
    expect(reseeded.tokens).not.toEqual(later.tokens);
  });

  test('refuse to draw where every token is forbidden, and leave the session usable', async () => {
    const session = model.createSession();
    const all = Array.from({ length: smallShape.vocabulary }, (_, id) => id);
    await expect(session.complete('ab', { bannedTokens: all })).rejects.toMatchObject({
      code: 'ERR_WKV_STATE',
    });
    await expect(session.evaluate('ab')).resolves.toHaveLength(smallShape.vocabulary);
  });

  test.each([
    [{ topK: -1 }, outOfRange(/topK/)],
    [{ topK: 1.5 }, outOfRange(/topK/)],
    [{ minP: 1.1 }, outOfRange(/minP/)],
    [{ typicalP: 0 }, outOfRange(/typicalP/)],
    [{ presencePenalty: 101 }, outOfRange(/presencePenalty/)],
    [{ frequencyPenalty: NaN }, outOfRange(/frequencyPenalty/)],
    [{ penaltyDecay: 2 }, outOfRange(/penaltyDecay/)],
    [{ penaltyExempt: [0.5] }, outOfRange(/penaltyExempt/)],
    [{ penaltyExempt: 'digits' }, invalidArgument(/penaltyExempt/)],
    [{ penalties: 'always' }, invalidArgument(/penalties/)],
    [{ bannedTokens: [256] }, { code: 'ERR_WKV_TOKEN', message: /bannedTokens/ }],
    [{ logitBias: [1, 2] }, invalidArgument(/logitBias/)],
    [{ logitBias: { a: 1 } }, invalidArgument(/logitBias/)],
    [{ logitBias: { 300: 1 } }, { code: 'ERR_WKV_TOKEN', message: /logitBias/ }],
    [{ logitBias: { 3: 'much' } }, invalidArgument(/logitBias/)],
    [{ logitBias: { 3: Infinity } }, outOfRange(/logitBias/)],
    [{ samplerOrder: ['topP'] }, invalidArgument(/samplerOrder/)],
    [{ samplerOrder: ['topP', 'topP', 'minP', 'typicalP', 'temperature'] }, invalidArgument(/samplerOrder/)],
    [{ samplerOrder: 'topP' }, invalidArgument(/samplerOrder/)],
    [{ logprobs: 1001 }, outOfRange(/logprobs/)],
  ])('are checked at the call: %j', (wrong, failure) => {
    expectFailure(
      thrown(() => callUnchecked(model.createSession(), 'generate', ['ab', wrong])),
      failure,
    );
  });
});
