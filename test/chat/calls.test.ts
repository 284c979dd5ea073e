import { getEventListeners } from 'node:events';
import type { Chat, GenerateOptions } from '../../lib/index';
import { useRandomModel } from '../support/model';
import { expectFailure, rejection, thrown } from '../support/failure';
import { few, prompt, receive, sameState, say, sessionAfter } from './support';

const { model } = useRandomModel();

describe('while a reply is iterated', () => {
  test('other calls are refused, and afterwards they are not', async () => {
    const chat = model().createChat();
    await say(chat, 'hi', few);
    const reply = chat.send('bye', few);
    await reply.next();
    const busy = { code: 'ERR_WKV_BUSY' };
    expectFailure(await rejection(() => chat.send('a').next()), busy);
    expectFailure(await rejection(() => chat.regenerate().next()), busy);
    expectFailure(await rejection(() => chat.complete('a')), busy);
    expectFailure(await rejection(() => chat.undo()), busy);
    expectFailure(
      thrown(() => chat.fork()),
      busy,
    );
    expectFailure(
      thrown(() => chat.serialize()),
      busy,
    );
    expectFailure(await rejection(() => chat.session.evaluate('a')), busy);
    expect(chat.messages).toHaveLength(2);
    await reply.return(undefined);
    expect(chat.fork().messages).toHaveLength(4);
    expect(chat.serialize().length).toBeGreaterThan(0);
  });

  test('and is left, a call waits for its end, which need not have come', async () => {
    const chat = model().createChat();
    const reply = chat.send('hi', few);
    const { value } = await reply.next();
    const left = reply.return(undefined);
    await chat.complete('bye', { maxTokens: 0 });
    await left;
    expect(chat.messages.map(({ content }) => content)).toEqual(['hi', value!.text, 'bye', '']);
  });

  test('its last part finds the conversation complete', async () => {
    const chat = model().createChat();
    for await (const part of chat.send('hi', few)) {
      if (part.finishReason === undefined) continue;
      expect(chat.messages).toHaveLength(2);
      expect(chat.fork().messages).toHaveLength(2);
    }
  });
});

describe("a chat whose session's owner uses it, too,", () => {
  test('rejects at once what is aborted while it waits for its turn, and stays as it was', async () => {
    const session = model().createSession();
    const chat = model().createChat({ session });
    await say(chat, 'hi', few);
    const { messages } = chat;
    const order: string[] = [];
    const held = new AbortController();
    // It takes many seconds, unless it is called off.
    const first = rejection(() => session.evaluate(new Uint32Array(3_000_000), { signal: held.signal }));
    const before = session.evaluate(new Uint32Array(2000)).finally(() => order.push('the call before'));
    for (const call of [
      (signal: AbortSignal) => chat.send('bye', { signal }).next(),
      (signal: AbortSignal) => chat.complete('bye', { signal }),
      (signal: AbortSignal) => chat.regenerate({ signal }).next(),
      (signal: AbortSignal) => chat.undo({ signal }),
    ]) {
      const controller = new AbortController();
      setImmediate(() => {
        controller.abort(new Error('not any more'));
      });
      expectFailure(await rejection(() => call(controller.signal)), { message: /not any more/ });
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }
    expect(order).toEqual([]);
    held.abort();
    expect(await first).toBe(held.signal.reason);
    await before;
    expect(chat.messages).toEqual(messages);
    expect(session.state.tokens).toBe(2000 + prompt('hi').length + few.maxTokens);
  });

  test('refuses calls while the owner iterates a generation, and stays as it was', async () => {
    const session = model().createSession();
    const [chat, other] = [model().createChat({ session }), model().createChat({ session })];
    await say(chat, 'hi', few);
    const { messages } = chat;
    const generation = session.generate('Once', { ...few, stopTokens: [] });
    const { value } = await generation.next();
    for (const call of [
      () => chat.send('bye').next(),
      () => chat.complete('bye'),
      () => chat.regenerate().next(),
      () => chat.undo(),
      () => other.complete('bye'),
    ]) {
      expectFailure(await rejection(call), { code: 'ERR_WKV_BUSY' });
    }
    await generation.return();
    expect(chat.messages).toEqual(messages);
    const tokens = prompt('hi').length + few.maxTokens + 'Once'.length + value!.tokens.length;
    expect(session.state.tokens).toBe(tokens);
    await chat.undo();
    expect(session.state.tokens).toBe(0);
  });

  test('has calls of its owner wait for its own, in their order', async () => {
    const session = model().createSession();
    const chat = model().createChat({ session });
    const said = chat.complete('hi', few);
    const remark = session.evaluate('A remark.', { logits: 'none' });
    const seeded = session.complete('', { maxTokens: 0, seed: 9 });
    const { tokens, seed } = await said;
    await remark;
    expect((await seeded).seed).toBe(9n);
    expect(seed).not.toBe(9n);
    expect(await sameState(session, await sessionAfter(model(), prompt('hi'), tokens, 'A remark.'))).toBe(
      true,
    );
    const undone = chat.undo();
    const another = session.evaluate('Another.', { logits: 'none' });
    await Promise.all([undone, another]);
    expect(await sameState(session, await sessionAfter(model(), 'Another.'))).toBe(true);
  });

  test('refuses calls of its owner while a reply is iterated, from its first next() on', async () => {
    const session = model().createSession();
    const chat = model().createChat({ session });
    await say(chat, 'hi', few);
    for (const reply of [chat.regenerate(few), chat.send('bye', few)]) {
      const first = reply.next();
      expectFailure(await rejection(() => session.evaluate('A remark.')), { code: 'ERR_WKV_BUSY' });
      await first;
      await receive(reply);
    }
    expect(chat.messages).toHaveLength(4);
  });

  test('frees both after an abort, also if nobody asks for another part', async () => {
    const session = model().createSession();
    const chat = model().createChat({ session });
    const controller = new AbortController();
    const { signal } = controller;
    const reply = chat.send('hi', { ...few, stop: [], stopTokens: [], signal });
    const { value } = await reply.next();
    controller.abort(new Error('enough'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await chat.complete('bye', { maxTokens: 0 });
    expect(chat.messages.map(({ content }) => content)).toEqual(['hi', value!.text, 'bye', '']);
    expect(await rejection(() => reply.next())).toBe(signal.reason);
    expect(chat.messages).toHaveLength(4);
  });
});

const endless: GenerateOptions = { ...few, maxTokens: 100_000, stop: [], stopTokens: [] };

describe('a reply that is aborted', () => {
  test.each([
    ['between two parts', false],
    ['in a next()', true],
  ])('%s has calls of the same turn wait for its end', async (_when, pending) => {
    const chat = model().createChat();
    const controller = new AbortController();
    const { signal } = controller;
    const reply = chat.send('hi', { ...endless, signal });
    const { value } = await reply.next();
    const last = pending ? rejection(() => reply.next()) : undefined;
    controller.abort(new Error('enough'));
    const again = chat.send('bye', { ...few, maxTokens: 0 }).next();
    // What there is of the reply is not known yet.
    for (const call of [() => chat.fork(), () => chat.serialize()]) {
      expectFailure(thrown(call), { code: 'ERR_WKV_BUSY' });
    }
    await again;
    expect(await (last ?? rejection(() => reply.next()))).toBe(signal.reason);
    expect(chat.messages.map(({ content }) => content)).toEqual(['hi', value!.text, 'bye', '']);
    expect(chat.fork().messages).toHaveLength(4);
  });

  test('has calls wait for its end that listeners of its signal make', async () => {
    const chat = model().createChat();
    const controller = new AbortController();
    const { signal } = controller;
    const first = new Promise((resolve) => {
      // Before the chat listens itself.
      signal.addEventListener('abort', () => {
        resolve(chat.complete('bye', { ...few, maxTokens: 0 }));
      });
    });
    const reply = chat.send('hi', { ...endless, signal });
    const { value } = await reply.next();
    controller.abort(new Error('enough'));
    await first;
    expect(await rejection(() => reply.next())).toBe(signal.reason);
    expect(chat.messages.map(({ content }) => content)).toEqual(['hi', value!.text, 'bye', '']);
  });

  test('keeps the chat from being forked until it has ended, also if another call is over before', async () => {
    const chat = model().createChat();
    const [first, second] = [new AbortController(), new AbortController()];
    const reply = chat.send('hi', { ...endless, signal: first.signal });
    await reply.next();
    const last = rejection(() => reply.next());
    first.abort();
    const undone = rejection(() => chat.undo({ signal: second.signal }));
    second.abort();
    await undone;
    expectFailure(
      thrown(() => chat.fork()),
      { code: 'ERR_WKV_BUSY' },
    );
    await last;
    expect(chat.fork().messages).toHaveLength(2);
  });

  test('is ended by the chat that is disposed, together with the call that waits for it', async () => {
    const chat = model().createChat({ session: model().createSession() });
    const controller = new AbortController();
    const reply = chat.send('hi', { ...endless, signal: controller.signal });
    await reply.next();
    controller.abort(new Error('enough'));
    const call = rejection(() => chat.complete('bye', few));
    chat.dispose();
    expectFailure(await call, { code: 'ERR_WKV_DISPOSED' });
    expect(await rejection(() => reply.next())).toBe(controller.signal.reason);
    expect(chat.messages).toHaveLength(2);
  });
});

test('A signal that lives long is no longer listened to by calls that have ended', async () => {
  const chat = model().createChat();
  const { signal } = new AbortController();
  const options = { ...few, signal };
  for (const call of [
    () => say(chat, 'hi', options),
    () => chat.complete('bye', options),
    () => receive(chat.regenerate(options)),
    () => chat.undo({ signal }),
  ]) {
    await call();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  }
});

describe("a chat's session", () => {
  test('can be given; what it has seen stands before the conversation', async () => {
    const session = await sessionAfter(model(), 'A manual.\n\n');
    const chat = model().createChat({ session });
    expect(chat.session).toBe(session);
    await say(chat, 'hi', { maxTokens: 0 });
    expect(await sameState(session, await sessionAfter(model(), `A manual.\n\n${prompt('hi')}`))).toBe(true);
    chat.dispose();
    expect(session.state.tokens).toBeGreaterThan(0);
    session.dispose();
  });

  test('is disposed with a chat that made it, and its calls are refused then', async () => {
    const chat = model().createChat();
    await say(chat, 'hi', few);
    const branch = chat.fork();
    {
      using disposed = chat;
      expect(disposed.messages).toHaveLength(2);
    }
    const gone = { code: 'ERR_WKV_DISPOSED' };
    expectFailure(
      thrown(() => chat.session.state),
      gone,
    );
    expectFailure(await rejection(() => chat.send('a').next()), gone);
    expectFailure(await rejection(() => chat.undo()), gone);
    expectFailure(
      thrown(() => chat.fork()),
      gone,
    );
    expect(chat.messages).toHaveLength(2);
    chat.dispose();
    await branch.undo();
    expect(branch.messages).toEqual([]);
  });

  describe.each([
    ['its own', false],
    ['given', true],
  ])('that is %s', (_whose, given) => {
    const gone = { code: 'ERR_WKV_DISPOSED' };
    const begin = (): Chat => model().createChat(given ? { session: model().createSession() } : {});

    /** A session that was given goes on from here, and from nowhere else. */
    async function expectToBeAfter(chat: Chat, ...inputs: (string | number[])[]): Promise<void> {
      if (!given) return;
      expect(await sameState(chat.session, await sessionAfter(model(), ...inputs))).toBe(true);
    }

    test('ends a reply when the chat is disposed between two parts', async () => {
      const chat = begin();
      const reply = chat.send('hi', endless);
      const { value } = await reply.next();
      chat.dispose();
      await expectToBeAfter(chat, prompt('hi'), value!.tokens);
      expectFailure(await rejection(() => receive(reply)), gone);
      expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: value!.text });
    });

    test('rejects what is pending when the chat is disposed, and stays after what was delivered', async () => {
      const chat = begin();
      const reply = chat.send('hi', endless);
      const { value } = await reply.next();
      const pending = rejection(() => reply.next());
      chat.dispose();
      expectFailure(await pending, gone);
      await expect(reply.next()).resolves.toEqual({ done: true, value: undefined });
      await expectToBeAfter(chat, prompt('hi'), value!.tokens);
    });

    test('rejects complete() when the chat is disposed', async () => {
      const chat = begin();
      const pending = rejection(() => chat.complete('hi', endless));
      await new Promise((resolve) => setTimeout(resolve, 20));
      chat.dispose();
      expectFailure(await pending, gone);
    });

    test('forgets a prompt that was being evaluated when the chat was disposed', async () => {
      const chat = begin();
      const { tokens } = await say(chat, 'hi', few);
      const before = chat.session.native().random();
      const pending = rejection(() => chat.complete('x'.repeat(3_000_000), { ...few, seed: 5 }));
      await new Promise((resolve) => setTimeout(resolve, 5));
      chat.dispose();
      expectFailure(await pending, gone);
      if (given) expect(chat.session.native().random()).toEqual(before);
      await expectToBeAfter(chat, prompt('hi'), tokens);
      expect(chat.messages).toHaveLength(2);
    });
  });

  test.each<[string, (chat: Chat) => Promise<unknown>]>([
    ['complete', (chat) => chat.complete('bye', few)],
    ['regenerate', (chat) => chat.regenerate(few).next()],
    ['undo', (chat) => chat.undo()],
  ])('that is given is as its owner left it if %s waits when the chat is disposed', async (_name, call) => {
    const session = model().createSession();
    const chat = model().createChat({ session });
    const { tokens } = await say(chat, 'hi', few);
    const before = session.evaluate(new Uint32Array(20_000));
    const pending = rejection(() => call(chat));
    chat.dispose();
    expectFailure(await pending, { code: 'ERR_WKV_DISPOSED' });
    await before;
    const expected = await sessionAfter(
      model(),
      prompt('hi'),
      tokens,
      Array.from({ length: 20_000 }, () => 0),
    );
    expect(await sameState(session, expected)).toBe(true);
  });
});

test('A reply that is pending when its chat is disposed says that of the chat', async () => {
  const chat = model().createChat();
  const reply = chat.send('hi', endless);
  await reply.next();
  const pending = rejection(() => reply.next());
  chat.dispose();
  expectFailure(await pending, { code: 'ERR_WKV_DISPOSED', message: /the chat has been disposed/ });
});
