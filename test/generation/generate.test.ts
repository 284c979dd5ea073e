import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { State, Tokenizer, type GenerateOptions, type GeneratedPart, type Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, rejection } from '../support/failure';
import { randomModel } from '../support/random-model';
import { indexOfLargest, oracle, runChild, smallShape, useRandomModel } from '../support/model';

const greedy: GenerateOptions = { temperature: 0, maxTokens: 40 };

const { model } = useRandomModel();

interface Generated {
  tokens: number[];
  text: string;
  parts: GeneratedPart[];
}

async function generate(session: Session, input: string, options: GenerateOptions): Promise<Generated> {
  const parts: GeneratedPart[] = [];
  for await (const part of session.generate(input, options)) {
    parts.push(part);
  }
  return {
    tokens: parts.flatMap((part) => [...part.tokens]),
    text: parts.map((part) => part.text).join(''),
    parts,
  };
}

describe('generate', () => {
  test('at temperature 0 takes the token that the oracle finds most probable', async () => {
    const { tokens } = await generate(model().createSession(), 'Once', { ...greedy, maxTokens: 20 });
    const expected = [...Buffer.from('Once')];
    const tensors = randomModel(smallShape);
    for (let i = 0; i < 20; i++) {
      const logits = oracle(tensors, expected).logits.at(-1) ?? new Float64Array();
      expected.push(indexOfLargest(Float32Array.from(logits)));
    }
    expect(tokens).toEqual(expected.slice(4));
  });

  test('delivers text that is the decoding of its tokens', async () => {
    const { tokens, text } = await generate(model().createSession(), 'Once', { seed: 3, maxTokens: 100 });
    expect(tokens.length).toBeLessThanOrEqual(100);
    expect(text).toBe(Tokenizer.bytes().decode(Uint32Array.from(tokens)));
  });

  test('leaves the state after the tokens that it delivered', async () => {
    const session = model().createSession();
    const { tokens } = await generate(session, 'Once', greedy);
    expect(tokens).toHaveLength(40);
    const again = model().createSession();
    const last = await again.evaluate([...Buffer.from('Once'), ...tokens]);
    expect(sameBits(session.state.values(), again.state.values())).toBe(true);
    expect(sameBits(await session.evaluate([]), last)).toBe(true);
  });

  test('leaves the state after the delivered text when the loop is left, and the session usable', async () => {
    const session = model().createSession();
    const tokens: number[] = [];
    for await (const part of session.generate('Once', greedy)) {
      tokens.push(...part.tokens);
      if (tokens.length >= 5) {
        break;
      }
    }
    const expected = await model()
      .createSession()
      .evaluate([...Buffer.from('Once'), ...tokens]);
    expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  });

  test('gives the same tokens for the same seed, whatever else runs, and others for another seed', async () => {
    const options: GenerateOptions = { maxTokens: 50, temperature: 1.2, topP: 0.95 };
    const alone = await generate(model().createSession(), 'Once', { ...options, seed: 11 });
    const together = await Promise.all(
      [11, 12, 11, 13].map((seed) => generate(model().createSession(), 'Once', { ...options, seed })),
    );
    expect(together[0]?.tokens).toEqual(alone.tokens);
    expect(together[2]?.tokens).toEqual(alone.tokens);
    expect(together[1]?.tokens).not.toEqual(alone.tokens);
    expect(together[3]?.tokens).not.toEqual(together[1]?.tokens);
  });

  test('goes on alike in a fork and in a state that was saved, the random numbers included', async () => {
    const session = model().createSession();
    await generate(session, 'Once', { maxTokens: 10, seed: 4 });
    const branch = session.fork();
    const resumed = model().createSession({ state: State.deserialize(session.state.serialize()) });
    const options: GenerateOptions = { maxTokens: 40, temperature: 1.5, topP: 1 };
    const [one, two, three] = await Promise.all(
      [session, branch, resumed].map((each) => generate(each, '', options)),
    );
    expect(two?.tokens).toEqual(one?.tokens);
    expect(three?.tokens).toEqual(one?.tokens);
  });

  test('ends before a stop token, which is neither delivered nor counted nor evaluated', async () => {
    const { tokens } = await generate(model().createSession(), 'Once', greedy);
    const stop = tokens[10]!;
    const end = tokens.indexOf(stop);
    const session = model().createSession();
    const stopped = await generate(session, 'Once', { ...greedy, stopTokens: [stop] });
    expect(stopped.tokens).toEqual(tokens.slice(0, end));
    const usage = { promptTokens: 4, completionTokens: end };
    expect(stopped.parts.at(-1)).toMatchObject({ finishReason: 'stop', usage });
    const expected = await model()
      .createSession()
      .evaluate([...Buffer.from('Once'), ...stopped.tokens]);
    expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  });

  test('of no tokens evaluates the prompt and delivers nothing', async () => {
    const session = model().createSession();
    const { tokens, parts } = await generate(session, 'Once', { ...greedy, maxTokens: 0 });
    expect(tokens).toEqual([]);
    expect(parts.at(-1)?.finishReason).toBe('length');
    expect(sameBits(await session.evaluate([]), await model().createSession().evaluate('Once'))).toBe(true);
  });

  test('waits for the calls before it, and refuses a second generation meanwhile', async () => {
    const session = model().createSession();
    const before = session.evaluate('On', { logits: 'none' });
    const generation = session.generate('ce', { ...greedy, maxTokens: 5 });
    const first = generation.next();
    expectFailure(await rejection(() => session.generate('x', greedy).next()), { code: 'ERR_WKV_BUSY' });
    await before;
    const tokens = [...((await first).value?.tokens ?? [])];
    for await (const part of generation) {
      tokens.push(...part.tokens);
    }
    const expected = await generate(model().createSession(), 'Once', { ...greedy, maxTokens: 5 });
    expect(tokens).toEqual(expected.tokens);
  });

  test('takes an empty prompt where there is something to continue', async () => {
    const [whole, halves] = [model().createSession(), model().createSession()];
    const expected = await generate(whole, 'Once', greedy);
    await halves.evaluate('Once');
    expect((await generate(halves, '', greedy)).tokens).toEqual(expected.tokens);
  });

  test('says so where a session that has seen nothing is given an empty prompt', async () => {
    const error = await rejection(() => generate(model().createSession(), '', greedy));
    expectFailure(error, { code: 'ERR_WKV_STATE' });
  });

  test('reports in its last part why it ended', async () => {
    const { parts } = await generate(model().createSession(), 'Once', { ...greedy, maxTokens: 3 });
    expect(parts.at(-1)?.finishReason).toBe('length');
    expect(parts.slice(0, -1).every((part) => part.finishReason === undefined)).toBe(true);
  });

  test('does no work before the first next()', async () => {
    const session = model().createSession();
    await session.evaluate('before');
    const before = session.state.values();
    const generation = session.generate('Once', greedy);
    expect(sameBits(session.state.values(), before)).toBe(true);
    await generation.return(undefined);
    expect(sameBits(session.state.values(), before)).toBe(true);
  });

  test('rejects with the reason of an aborted signal, after the delivered text, and leaves no listener', async () => {
    const session = model().createSession();
    const controller = new AbortController();
    const reason = new Error('enough');
    const tokens: number[] = [];
    const loop = async (): Promise<void> => {
      for await (const part of session.generate('Once', {
        ...greedy,
        maxTokens: 1e6,
        signal: controller.signal,
      })) {
        tokens.push(...part.tokens);
        if (tokens.length >= 7) {
          controller.abort(reason);
        }
      }
    };
    expect(await rejection(loop)).toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    const expected = await model()
      .createSession()
      .evaluate([...Buffer.from('Once'), ...tokens]);
    expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  });

  test('that is aborted frees its session, also if nobody asks for another part', async () => {
    const session = model().createSession();
    const controller = new AbortController();
    const { signal } = controller;
    const generation = session.generate('Once', { ...greedy, maxTokens: 1e6, signal });
    const { value } = await generation.next();
    controller.abort(new Error('enough'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const logits = await session.evaluate([]);
    const expected = await model()
      .createSession()
      .evaluate([...Buffer.from('Once'), ...value!.tokens]);
    expect(sameBits(logits, expected)).toBe(true);
    expect(await rejection(() => generation.next())).toBe(signal.reason);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test.each([
    ['between two parts', false],
    ['in a next()', true],
  ])('that is aborted %s has calls of the same turn wait for its end', async (_when, pending) => {
    const session = model().createSession();
    const controller = new AbortController();
    const { signal } = controller;
    const generation = session.generate('Once', { ...greedy, maxTokens: 1e6, signal });
    const { value } = await generation.next();
    const last = pending ? rejection(() => generation.next()) : undefined;
    controller.abort(new Error('enough'));
    const call = session.evaluate([1, 2], { logits: 'none' });
    const branch = session.fork();
    const another = session.generate('Twice', { ...greedy, maxTokens: 3 });
    const { value: first } = await another.next();
    await call;
    expect(await (last ?? rejection(() => generation.next()))).toBe(signal.reason);
    // The one that was aborted has not set the session free for others.
    expectFailure(await rejection(() => session.evaluate([1])), { code: 'ERR_WKV_BUSY' });
    await another.return(undefined);
    const expected = model().createSession();
    await expected.evaluate([...Buffer.from('Once'), ...value!.tokens, 1, 2]);
    expect(sameBits(await branch.evaluate([]), await expected.evaluate([]))).toBe(true);
    await expected.evaluate([...Buffer.from('Twice'), ...first!.tokens]);
    expect(sameBits(await session.evaluate([]), await expected.evaluate([]))).toBe(true);
  });

  test('runs not ahead of a slow consumer: nothing is computed until the next part is asked for', async () => {
    const session = model().createSession();
    const generation = session.generate('Once', greedy);
    await generation.next();
    const { tokens: before } = model().statistics;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(model().statistics.tokens).toBe(before);
    await generation.next();
    expect(model().statistics.tokens).toBe(before + 1);
    await generation.return(undefined);
  });

  test('whose iterator is dropped is ended when that is collected, and its session free again', async () => {
    const { code, stdout, stderr } = await runChild(join(__dirname, 'child-abandoned.ts'), []);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ before: true, after: false, same: true, came: true });
  });

  test('that is aborted in its prompt leaves the session as it was', async () => {
    const session = model().createSession();
    await session.evaluate('before');
    const before = session.state.values();
    const controller = new AbortController();
    const generation = session.generate('x'.repeat(100_000), { ...greedy, signal: controller.signal });
    const error = rejection(() => generation.next());
    controller.abort();
    expect(await error).toBe(controller.signal.reason);
    expect(sameBits(session.state.values(), before)).toBe(true);
  });
});
