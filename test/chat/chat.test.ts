import { getEventListeners } from 'node:events';
import { loadModel, Session, type Chat, type ChatPart, type GenerateOptions } from '../../lib/index';
import { smallShape, temporaryFolder, withModel, writeRandomModel, useRandomModel } from '../support/model';
import { callUnchecked, expectFailure, invalidArgument, rejection, thrown } from '../support/failure';
import { few, prompt, receive, sameState, say, sessionAfter } from './support';

const { model } = useRandomModel();
const space = ' '.charCodeAt(0);

/** What the model generates after a prompt, without any chat. */
async function generated(
  text: string,
  options: GenerateOptions,
): Promise<{ text: string; tokens: number[] }> {
  return await model().createSession().complete(text, options);
}

describe('send', () => {
  test('delivers what the model generates after the prompt, and remembers exactly that', async () => {
    const expected = await generated(prompt('hi'), few);
    const chat = model().createChat();
    const { text, tokens, parts } = await say(chat, 'hi', few);
    expect(text).toBe(expected.text.trimStart());
    expect(tokens).toEqual(expected.tokens);
    expect(parts.at(-1)).toMatchObject({
      finishReason: 'length',
      usage: { promptTokens: prompt('hi').length, completionTokens: 12 },
    });
    expect(chat.messages).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: expected.text.trimStart() },
    ]);
    expect(await sameState(chat.session, await sessionAfter(model(), prompt('hi'), tokens))).toBe(true);
  });

  test('evaluates what separates turns at the beginning of the next one', async () => {
    const chat = model().createChat();
    const first = await say(chat, 'hi', few);
    const second = await say(chat, 'bye', few);
    const whole = [prompt('hi'), first.tokens, `\n\n${prompt('bye')}`, second.tokens];
    expect(await sameState(chat.session, await sessionAfter(model(), ...whole))).toBe(true);
    expect(chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant']);
  });

  test('ends at a blank line, of which nothing is remembered', async () => {
    // Newlines alone: the second one completes the stop string.
    const newline = '\n'.charCodeAt(0);
    const chat = model().createChat();
    const { text, tokens, parts } = await say(chat, 'hi', { ...few, logitBias: { [newline]: 1000 } });
    expect({ text, tokens }).toEqual({ text: '', tokens: [] });
    expect(parts.at(-1)).toMatchObject({ finishReason: 'stop' });
    expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: '' });
    expect(await sameState(chat.session, await sessionAfter(model(), prompt('hi')))).toBe(true);
  });

  test('takes the stop strings of the call instead, also none', async () => {
    const newline = '\n'.charCodeAt(0);
    const options = { ...few, logitBias: { [newline]: 1000 } };
    const none = await say(model().createChat(), 'hi', { ...options, stop: [] });
    expect(none.tokens).toEqual(Array.from({ length: 12 }, () => newline));
    const three = await say(model().createChat(), 'hi', { ...options, stop: '\n\n\n' });
    expect(three).toMatchObject({ tokens: [], text: '' });
  });

  test('neither shows the white space that a reply begins with nor delivers parts without text', async () => {
    const chat = model().createChat();
    const options = { ...few, maxTokens: 3, logitBias: { [space]: 1000 } };
    const { tokens, parts, text } = await say(chat, 'hi', options);
    expect({ tokens, text }).toEqual({ tokens: [space, space, space], text: '' });
    expect(parts).toHaveLength(1);
    expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: '' });
    expect(await sameState(chat.session, await sessionAfter(model(), `${prompt('hi')}   `))).toBe(true);
  });

  test('checks at the call, and does nothing before the first next()', async () => {
    const chat = model().createChat();
    for (const [parameters, message] of [
      [[3], /text: expected a string/],
      [['hi', { stop: null }], /options\.stop: expected a string, or an array of strings, found null/],
      [['hi', { temprature: 1 }], /options\.temprature: there is no such option/],
      [['hi', 'greedy'], /options: expected a plain object/],
      [['hi', null], /options: expected a plain object/],
      [['hi', new Map([['maxTokens', 1]])], /options: expected a plain object/],
      [['hi', { stop: [''] }], /options\.stop\[0\]/],
    ] as const) {
      const error = thrown(() => callUnchecked(chat, 'send', parameters));
      expect(error).toMatchObject({ message: expect.stringMatching(message) as string });
    }
    chat.send('hi');
    await chat.send('hi').return(undefined);
    expect(chat.messages).toEqual([]);
    expect(chat.session.state.tokens).toBe(0);
  });

  test('writes its options and its text down at the call', async () => {
    const stop = ['\n\n'];
    const chat = model().createChat();
    const reply = chat.send('hi', { ...few, stop });
    stop[0] = 'a';
    stop.push('e', 'i', 'o', 'u');
    expect((await receive(reply)).tokens).toEqual((await generated(prompt('hi'), few)).tokens);
  });

  test.each<[string, GenerateOptions]>([
    ['whatever parts they come in', few],
    // Such parts have nothing to show.
    ['those of the white space that a reply begins with too', { ...few, logitBias: { [space]: 1000 } }],
  ])('reports log-probabilities of all tokens, %s', async (_which, options) => {
    const { parts, tokens } = await say(model().createChat(), 'hi', { ...options, logprobs: 1 });
    expect(tokens).toHaveLength(few.maxTokens);
    expect(parts.flatMap(({ logprobs = [] }) => logprobs.map(({ token }) => token))).toEqual(tokens);
  });
});

describe('complete', () => {
  test('returns the reply as a whole, and the seed', async () => {
    const options = { maxTokens: 12, seed: 5 };
    const expected = await say(model().createChat(), 'hi', options);
    const reply = await model().createChat().complete('hi', options);
    expect(reply).toEqual({
      text: expected.text,
      tokens: expected.tokens,
      finishReason: 'length',
      seed: 5n,
      usage: { promptTokens: prompt('hi').length, completionTokens: 12 },
    });
  });

  test('rejects, never throws', async () => {
    const chat = model().createChat();
    expectFailure(
      await rejection(() => callUnchecked(chat, 'complete', ['hi', { top: 1 }])),
      invalidArgument(/options\.top/),
    );
  });
});

describe('a reply that is not received to its end', () => {
  test('stays in the conversation as far as it was delivered', async () => {
    const chat = model().createChat();
    const received: ChatPart[] = [];
    for await (const part of chat.send('hi', { ...few, maxTokens: 100 })) {
      received.push(part);
      if (received.length === 4) break;
    }
    const tokens = received.flatMap((part) => part.tokens);
    expect(chat.messages).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: received.map(({ text }) => text).join('') },
    ]);
    expect(await sameState(chat.session, await sessionAfter(model(), prompt('hi'), tokens))).toBe(true);
    // And the conversation goes on, at once.
    const { tokens: next } = await say(chat, 'bye', few);
    const whole = [prompt('hi'), tokens, `\n\n${prompt('bye')}`, next];
    expect(await sameState(chat.session, await sessionAfter(model(), ...whole))).toBe(true);
  });

  test('stays too if it is aborted, which the reply rejects with', async () => {
    const chat = model().createChat();
    const controller = new AbortController();
    const tokens: number[] = [];
    const reason = new Error('enough');
    const error = await rejection(async () => {
      for await (const part of chat.send('hi', { ...few, maxTokens: 100, signal: controller.signal })) {
        tokens.push(...part.tokens);
        if (tokens.length >= 4) controller.abort(reason);
      }
    });
    expect(error).toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    expect(chat.messages).toHaveLength(2);
    expect(await sameState(chat.session, await sessionAfter(model(), prompt('hi'), tokens))).toBe(true);
  });

  test('leaves no trace if its prompt was not evaluated', async () => {
    const chat = model().createChat({ system: 'Be brief.' });
    await say(chat, 'hi', { ...few, seed: 3 });
    const { messages } = chat;
    const before = chat.serialize();

    const aborted = AbortSignal.abort(new Error('never'));
    expect(await rejection(() => say(chat, 'bye', { signal: aborted }))).toMatchObject({ message: 'never' });

    const controller = new AbortController();
    // Millions of tokens take many seconds.
    const long = chat.send('bye '.repeat(750_000), { signal: controller.signal, seed: 9 });
    const first = rejection(() => long.next());
    setImmediate(() => controller.abort(new Error('too long')));
    expect(await first).toMatchObject({ message: 'too long' });

    const everything = Array.from({ length: smallShape.vocabulary }, (_, id) => id);
    const impossible = await rejection(() => say(chat, 'bye', { bannedTokens: everything, seed: 9 }));
    expectFailure(impossible, { code: 'ERR_WKV_STATE', message: /no token is left that may be drawn/ });

    expect(chat.messages).toEqual(messages);
    expect(Buffer.compare(chat.serialize(), before)).toBe(0);
  });
});

const temporaryOther = temporaryFolder();

describe('createChat', () => {
  test('needs a model with a tokenizer', async () => {
    const path = await writeRandomModel(temporaryOther, 'nameless', { ...smallShape, vocabulary: 300 });
    await withModel(path, {}, (nameless) => {
      expectFailure(
        thrown((): Chat => nameless.createChat()),
        { code: 'ERR_WKV_TOKEN', message: /tokenizer/ },
      );
    });
  });

  test('takes no session that has been disposed', () => {
    const session = model().createSession();
    session.dispose();
    expectFailure(
      thrown(() => model().createChat({ session })),
      { code: 'ERR_WKV_DISPOSED', message: /options\.session/ },
    );
  });

  test('takes no session of another model', async () => {
    const other = await loadModel(
      await writeRandomModel(temporaryOther, 'other', { ...smallShape, seed: 8 }),
    );
    const session = other.createSession();
    expectFailure(
      thrown(() => model().createChat({ session })),
      invalidArgument(/options\.session: it is a session of another model/),
    );
    await other.dispose();
  });

  test.each<[object, RegExp]>([
    [{ sytem: 'a' }, /options\.sytem: there is no such option; there are system, messages/],
    [{ system: 3 }, /options\.system: expected a string/],
    [{ session: {} }, /options\.session: expected a Session/],
    [{ session: Object.create(Session.prototype) as object }, /options\.session: expected a Session/],
    [{ saved: 'a' }, /options\.saved: expected a Uint8Array/],
  ])('refuses %j', (options, message) => {
    expectFailure(
      thrown(() => callUnchecked(model(), 'createChat', [options])),
      invalidArgument(message),
    );
  });
});
