import { setImmediate } from 'node:timers/promises';
import { State, loadModel, type GenerateOptions, type LoadOptions, type Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { randomTokens } from '../support/random-model';
import { smallShape, useRandomModel } from '../support/model';

const { vocabulary } = smallShape;
const drawing: GenerateOptions = { maxTokens: 20, temperature: 1.2, topP: 1, seed: 5, logprobs: 3 };

const { model, path } = useRandomModel();

describe('Arguments are copied before the call returns:', () => {
  const tokens = randomTokens(50, vocabulary, 1);
  const calls: Record<string, (session: Session, input: Uint32Array | number[]) => Promise<unknown>> = {
    evaluate: (session, input) => session.evaluate(input),
    score: (session, input) => session.score(input),
    complete: (session, input) => session.complete(input, drawing),
    generate: (session, input) => {
      const generation = session.generate(input, drawing);
      // Called now, begun later.
      return setImmediate().then(() => generation.next());
    },
  };

  test.each(Object.entries(calls))('the tokens of %s', async (_name, call) => {
    const expected = await call(model().createSession(), tokens);
    for (const input of [tokens.slice(), [...tokens]]) {
      const queued = model().createSession();
      void queued.evaluate([], { logits: 'none' });
      const found = [call(model().createSession(), input), call(queued, input)];
      input.fill(0);
      if (Array.isArray(input)) input.length = 1;
      for (const each of await Promise.all(found)) expect(each).toEqual(expected);
    }
  });

  test('the options of evaluate', async () => {
    const options: { logits: 'all' | 'none' } = { logits: 'all' };
    const call = model().createSession().evaluate(tokens, options);
    options.logits = 'none';
    await expect(call).resolves.toHaveLength(tokens.length * vocabulary);
  });

  test('a buffer that is given away', async () => {
    const input = tokens.slice();
    const call = model().createSession().evaluate(input);
    structuredClone(input, { transfer: [input.buffer] });
    expect(input).toHaveLength(0);
    expect(sameBits(await call, await model().createSession().evaluate(tokens))).toBe(true);
  });

  test('every option of a generation', async () => {
    const options = {
      ...drawing,
      stop: ['zzz', 'yyy'],
      stopTokens: Uint32Array.of(3, 4),
      penaltyExempt: [5, 6],
      bannedTokens: Uint32Array.of(7, 8),
      logitBias: new Map([[9, -1]]),
      samplerOrder: ['temperature', 'topP', 'topK', 'minP', 'typicalP'] as const,
    } satisfies GenerateOptions;
    const copy = (): typeof options => ({
      ...options,
      stop: [...options.stop],
      stopTokens: options.stopTokens.slice(),
      penaltyExempt: [...options.penaltyExempt],
      bannedTokens: options.bannedTokens.slice(),
      logitBias: new Map(options.logitBias),
    });
    const expected = await model().createSession().complete('Once', copy());
    const changed = copy();
    const [completed, generation] = [
      model().createSession().complete('Once', changed),
      model().createSession().generate('Once', changed),
    ];
    const allowed = expected.tokens;
    changed.stop.fill('e');
    changed.stopTokens.set(allowed.slice(0, 2));
    changed.penaltyExempt.length = 0;
    changed.bannedTokens.set(allowed.slice(0, 2));
    changed.logitBias.clear();
    for (const [i, token] of allowed.entries()) changed.logitBias.set(token, -Infinity - i);
    Object.assign(changed, { maxTokens: 1, temperature: 0, seed: 6, logprobs: 0 });
    expect(await completed).toEqual(expected);
    const generated: number[] = [];
    for await (const part of generation) generated.push(...part.tokens);
    expect(generated).toEqual(expected.tokens);
  });

  test('the options of loadModel', async () => {
    const options: LoadOptions = { threads: 1, maxBatch: 3 };
    const loading = loadModel(path, options);
    options.maxBatch = 1;
    Object.assign(options, { weights: 'f16', unknown: 1 });
    const other = await loading;
    expect(other.info.weights).toBe('f32');
    await Promise.all([1, 2, 3, 4].map(() => other.createSession().evaluate([1])));
    expect(other.statistics.largestBatch).toBe(3);
    await other.dispose();
  });

  test('the bytes of State.deserialize and State.deserializeAsync', async () => {
    const session = model().createSession();
    await session.evaluate('something');
    const bytes = session.state.serialize();
    const given = [bytes.slice(), bytes.slice()] as const;
    const states = [Promise.resolve(State.deserialize(given[0])), State.deserializeAsync(given[1])];
    for (const each of given) each.fill(0);
    for (const state of await Promise.all(states)) expect(sameBits(state.serialize(), bytes)).toBe(true);
  });
});

describe('What is returned is fresh and the caller’s:', () => {
  /** Arrays of the same content share no memory. */
  function expectFresh(arrays: readonly (Float32Array | Uint8Array | Uint32Array)[]): void {
    expect(new Set(arrays.map(({ buffer }) => buffer)).size).toBe(arrays.length);
    const [first, ...others] = arrays;
    const kept = first!.slice();
    first!.fill(1);
    for (const other of others) expect(sameBits(other, kept)).toBe(true);
  }

  test.each([
    ['last logits', (session: Session) => session.evaluate([])],
    ['all logits', (session: Session) => session.fork().evaluate([1, 2], { logits: 'all' })],
    ['no logits', (session: Session) => session.evaluate([], { logits: 'all' })],
    ['scores', (session: Session) => session.fork().score([1, 2])],
    ['the values of a state', (session: Session) => Promise.resolve(session.state.values())],
    ['the bytes of a state', (session: Session) => Promise.resolve(session.state.serialize())],
    ['the bytes of a state, made elsewhere', (session: Session) => session.state.serializeAsync()],
  ])('%s', async (_what, make) => {
    const session = model().createSession();
    await session.evaluate('something');
    const { state } = session;
    const before = state.serialize();
    expectFresh([await make(session), await make(session), await make(session)]);
    expect(sameBits(session.state.serialize(), before)).toBe(true);
  });

  test('the tokens and logprobs of parts and completions', async () => {
    const expected = await model().createSession().complete('Once', drawing);
    const tokens: number[] = [];
    const session = model().createSession();
    for await (const part of session.generate('Once', drawing)) {
      tokens.push(...part.tokens);
      part.tokens.fill(0);
      for (const each of part.logprobs ?? []) each.top.length = 0;
    }
    expect(tokens).toEqual(expected.tokens);
    const again = await model().createSession().complete('Once', drawing);
    again.tokens.fill(0);
    expect(await model().createSession().complete('Once', drawing)).toEqual(expected);
  });

  test('the statistics of a model; its information is one frozen object', async () => {
    const statistics = model().statistics;
    await model().createSession().evaluate([1]);
    expect(model().statistics.steps).toBe(statistics.steps + 1);
    expect(Object.isFrozen(model().info)).toBe(true);
  });
});

describe('Logits of every token', () => {
  test('are refused over 1 GiB and not below, by their number alone', async () => {
    // 2^20 tokens of 256 logits of 4 bytes are 1 GiB.
    const session = model().createSession();
    const controller = new AbortController();
    const most = session.evaluate(new Uint32Array(2 ** 20), { logits: 'all', signal: controller.signal });
    controller.abort(new Error('taken'));
    await expect(most).rejects.toThrow('taken');
    const more = session.evaluate(new Uint32Array(2 ** 20 + 1), { logits: 'all' });
    await expect(more).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    await expect(more).rejects.toThrow(/1048576 tokens.*score/);
  });
});
