import { loadModel, Tokenizer, WkvError, type Chat, type GenerateOptions } from '../../lib/index';
import { smallShape, temporaryFolder, writeRandomModel, useRandomModel } from '../support/model';
import { expectFailure, rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import {
  receive,
  sameState,
  say,
  scripted,
  sessionAfter,
  useScripts,
  withScriptedModel,
  type Received,
} from './support';

useScripts();
const { model } = useRandomModel();
const folder = temporaryFolder();

/** Options that leave different traces in a sampler: seeds, counts of the session, exemptions. */
const kinds: GenerateOptions[] = [
  { maxTokens: 5, seed: 11 },
  { maxTokens: 7 },
  { maxTokens: 6, penalties: 'session', penaltyDecay: 0.9, presencePenalty: 0.3 },
  { maxTokens: 3, penalties: 'session', penaltyExempt: randomTokens(100, smallShape.vocabulary, 4) },
  { maxTokens: 0 },
  { maxTokens: 9, temperature: 1.5, topP: 1, stop: ['a', '\n'] },
];

/** What a conversation may begin with. */
const messages = [
  { role: 'user', content: 'a' },
  { role: 'assistant', content: 'b' },
  { role: 'user', content: 'c' },
  { role: 'assistant', content: 'd' },
] as const;

/** Everything that a session goes on with: numbers, logits, random numbers and counts, as bytes. */
const everything = (chat: Chat): Buffer => Buffer.from(chat.session.state.serialize());

/** A conversation of so many turns, and what the session was before each of them. */
async function converse(chat: Chat, turns: number): Promise<Buffer[]> {
  const before: Buffer[] = [];
  for (let i = 0; i < turns; i++) {
    before.push(everything(chat));
    await say(chat, `question ${i}`, kinds[i % kinds.length]);
  }
  return before;
}

async function expectUndone(chat: Chat, before: readonly Buffer[]): Promise<void> {
  for (const [i, bytes] of [...before.entries()].reverse()) {
    await chat.undo();
    expect(chat.messages).toHaveLength(2 * i);
    expect(Buffer.compare(everything(chat), bytes)).toBe(0);
  }
}

describe('undo', () => {
  test('goes back to exactly the state before each exchange, however many there were', async () => {
    const chat = model().createChat();
    await expectUndone(chat, await converse(chat, 20));
  });

  test('does so where states are packed as f16 between calls', async () => {
    const path = await writeRandomModel(folder, 'packed');
    const packed = await loadModel(path, { tokenizer: Tokenizer.bytes(), statePrecision: 'f16' });
    const chat = packed.createChat();
    await expectUndone(chat, await converse(chat, 14));
    await packed.dispose();
  });

  test('does so where the session was used besides', async () => {
    const chat = model().createChat();
    const before = await converse(chat, 3);
    await chat.session.evaluate('A remark.', { logits: 'none' });
    await chat.session.complete('', { seed: 3, maxTokens: 0 });
    before.push(...(await converse(chat, 10)));
    await chat.session.complete('Another one.', { penalties: 'session', seed: 4, maxTokens: 4 });
    before.push(...(await converse(chat, 1)));
    await expectUndone(chat, before);
  });

  test('does so where another chat of the session took back as many tokens as were seen besides', async () => {
    const session = model().createSession();
    const [chat, other] = [model().createChat({ session }), model().createChat({ session })];
    const few = { maxTokens: 3 };
    await other.complete('b', few);
    await chat.complete('a', few);
    const { tokens } = session.state;
    await other.undo();
    await session.evaluate('q'.repeat(tokens - session.state.tokens), { logits: 'none' });
    const before = everything(chat);
    await chat.complete('c', few);
    const saved = model().createChat({ saved: chat.serialize() });
    await saved.undo();
    expect(Buffer.compare(everything(saved), before)).toBe(0);
    await chat.undo();
    expect(Buffer.compare(everything(chat), before)).toBe(0);
  });

  test('does so after it went back to where the session was used besides, and once it was saved', async () => {
    const chat = model().createChat();
    await say(chat, 'a', kinds[0]);
    await chat.session.evaluate('A remark.', { logits: 'none' });
    await say(chat, 'b', kinds[1]);
    await chat.undo();
    const before = everything(chat);
    await say(chat, 'c', kinds[1]);
    const saved = model().createChat({ saved: chat.serialize() });
    await saved.undo();
    expect(Buffer.compare(everything(saved), before)).toBe(0);
    await chat.undo();
    expect(Buffer.compare(everything(chat), before)).toBe(0);
  });

  test('does so in a session that was given, which stays the same object', async () => {
    const session = await sessionAfter(model(), 'A manual.');
    const chat = model().createChat({ session });
    await expectUndone(chat, await converse(chat, 10));
    expect(chat.session).toBe(session);
    expect(await sameState(session, await sessionAfter(model(), 'A manual.'))).toBe(true);
  });

  test('goes back after replies that were left or aborted', async () => {
    const chat = model().createChat();
    const before: Buffer[] = [];
    for (let i = 0; i < 12; i++) {
      before.push(everything(chat));
      let left = i % 4;
      for await (const part of chat.send('hi', { maxTokens: 20, seed: i, penalties: 'session' })) {
        if (part.text !== '' && left-- === 0) break;
      }
    }
    await expectUndone(chat, before);
  });

  test('goes back after a reply that was left inside a token, also long after, and once it was saved', async () => {
    const prompt = 'User: hi\n\nAssistant:';
    await withScriptedModel(prompt, ['a\n', 'b'], async (scriptedModel) => {
      const chat = scriptedModel.createChat();
      const before = [everything(chat)];
      for await (const { text } of chat.send('hi', scripted)) {
        // The line break is held back: it could begin the stop string.
        expect(text).toBe('a');
        break;
      }
      expect(chat.session.state.tokens).toBe(prompt.length + 1);
      before.push(...(await converse(chat, 10)));
      const resumed = scriptedModel.createChat({ saved: chat.serialize() });
      await expectUndone(chat, before);
      await expectUndone(resumed, before);
    });
  });

  test('goes back after a reply that ended inside a token, also long after, and once it was saved', async () => {
    await withScriptedModel('User: hi\n\nAssistant:', ['a\n\n'], async (scriptedModel) => {
      const chat = scriptedModel.createChat();
      const before = [everything(chat)];
      expect(await chat.complete('hi', scripted)).toMatchObject({ text: 'a', finishReason: 'stop' });
      before.push(...(await converse(chat, 10)));
      const resumed = scriptedModel.createChat({ saved: chat.serialize() });
      await expectUndone(chat, before);
      await expectUndone(resumed, before);
    });
  });

  test('goes back after a reply that could not be ended, also long after', async () => {
    const pieces = ['x', 'y', 'x', 'y', 'x', 'y'];
    await withScriptedModel('User: hi\n\nAssistant:', pieces, async (scriptedModel) => {
      const chat = scriptedModel.createChat();
      const before = [everything(chat)];
      // While 'xy' is held back, as it could begin the stop string, the state before it is kept.
      const reply = chat.send('hi', { ...scripted, stop: 'xyxz' });
      expect((await reply.next()).value).toMatchObject({ text: 'xy' });
      const noRoom = new WkvError('ERR_WKV_MEMORY', 'no room');
      const native = chat.session.native();
      Object.defineProperty(native, 'evaluate', { value: () => Promise.reject(noRoom), configurable: true });
      expectFailure(await rejection(() => reply.return(undefined)), { code: 'ERR_WKV_MEMORY' });
      Reflect.deleteProperty(native, 'evaluate');
      expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: 'xy' });
      before.push(...(await converse(chat, 10)));
      await expectUndone(chat, before);
    });
  });

  test('leaves a conversation that goes on as if nothing had happened', async () => {
    const [chat, other] = [model().createChat(), model().createChat()];
    const options = { maxTokens: 10, seed: 1 };
    for (const text of ['a', 'b', 'c']) await say(chat, text, options);
    await chat.undo();
    await say(other, 'a', options);
    await say(other, 'b', options);
    const [one, two] = [await say(chat, 'd', options), await say(other, 'd', options)];
    expect(one.tokens).toEqual(two.tokens);
    expect(chat.messages).toEqual(other.messages);
    expect(Buffer.compare(everything(chat), everything(other))).toBe(0);
  });

  test('of the first exchange has the system and given messages evaluated again with the next', async () => {
    const chat = model().createChat({
      system: 'Be brief.',
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
    });
    await say(chat, 'no');
    await chat.undo();
    await say(chat, 'hi', { maxTokens: 0 });
    const expected = 'System: Be brief.\n\nUser: a\n\nAssistant: b\n\nUser: hi\n\nAssistant:';
    expect(await sameState(chat.session, await sessionAfter(model(), expected))).toBe(true);
  });

  test('takes back what the conversation began with, when all else has been taken back', async () => {
    const chat = model().createChat({ messages });
    await say(chat, 'no');
    await chat.undo();
    await chat.undo();
    expect(chat.messages).toEqual(messages.slice(0, 2));
    await say(chat, 'hi', { maxTokens: 0 });
    const expected = 'User: a\n\nAssistant: b\n\nUser: hi\n\nAssistant:';
    expect(await sameState(chat.session, await sessionAfter(model(), expected))).toBe(true);
    for (let i = 0; i < 2; i++) await chat.undo();
    expect(chat.messages).toEqual([]);
    expectFailure(await rejection(() => chat.undo()), { code: 'ERR_WKV_STATE' });
  });

  test('of nothing is an error', async () => {
    const chat = model().createChat({ system: 'Be brief.' });
    expectFailure(await rejection(() => chat.undo()), {
      code: 'ERR_WKV_STATE',
      message: /nothing has been said/,
    });
  });

  test('that is aborted leaves the conversation as it was', async () => {
    // Where this thread had no turn until all was evaluated again, another conversation is tried.
    for (let tries = 0; tries < 20; tries++) {
      const chat = model().createChat();
      await say(chat, 'long '.repeat(4000), { maxTokens: 0 });
      for (let i = 0; i < 9; i++) await say(chat, 'hi', { maxTokens: 1 });
      for (let i = 0; i < 8; i++) await chat.undo();
      const [messages, before] = [chat.messages, everything(chat)];
      // The exchange to be evaluated again has 20,000 tokens, which take longer than the abort.
      const controller = new AbortController();
      const undone = Promise.allSettled([chat.undo({ signal: controller.signal })]);
      setImmediate(() => controller.abort(new Error('too long')));
      const [result] = await undone;
      if (result.status === 'rejected') {
        expect(result.reason).toMatchObject({ message: 'too long' });
        expect(chat.messages).toEqual(messages);
        expect(Buffer.compare(everything(chat), before)).toBe(0);
        await chat.undo();
      }
      expect(chat.messages).toHaveLength(2);
      if (result.status === 'rejected') return;
    }
    throw new Error('every call ended before it was aborted');
  });

  test.each([
    ['of an exchange whose state is kept', 2, 0],
    ['of one that has to be evaluated again', 10, 8],
  ])('%s, ended in the same turn or a few promises later, changes nothing', async (_which, said, undone) => {
    for (let promises = 0; promises < 12; promises++) {
      for (const end of ['dispose', 'abort']) {
        const session = await sessionAfter(model(), 'A manual.');
        const chat = model().createChat({ session });
        for (let i = 0; i < said; i++) await say(chat, 'hi', { maxTokens: 1, seed: i });
        for (let i = 0; i < undone; i++) await chat.undo();
        const [messages, before] = [chat.messages, everything(chat)];
        const controller = new AbortController();
        const call = chat.undo({ signal: controller.signal }).then(
          () => undefined,
          (error: unknown) => error,
        );
        for (let i = 0; i < promises; i++) await Promise.resolve();
        if (end === 'dispose') chat.dispose();
        else controller.abort();
        const error = await call;
        if (error === undefined && promises > 0) {
          // It was too late.
          expect(chat.messages).toHaveLength(messages.length - 2);
          continue;
        }
        if (end === 'dispose') expectFailure(error, { code: 'ERR_WKV_DISPOSED' });
        else expect(error).toBe(controller.signal.reason);
        expect(chat.messages).toEqual(messages);
        expect(Buffer.compare(everything(chat), before)).toBe(0);
      }
    }
  });
});

describe('regenerate', () => {
  const options: GenerateOptions = { maxTokens: 30, temperature: 1.5, topP: 1, stop: [] };

  test('replaces the last reply, with other random numbers', async () => {
    const chat = model().createChat();
    await say(chat, 'hi', options);
    const first = await say(chat, 'bye', options);
    const second = await receive(chat.regenerate(options));
    expect(second.tokens).not.toEqual(first.tokens);
    expect(chat.messages.map(({ content }) => content)).toEqual([
      'hi',
      expect.any(String),
      'bye',
      second.text,
    ]);
  });

  test.each([6, 0])('gives with a seed what the seed gave before: %d', async (seed) => {
    const chat = model().createChat();
    await say(chat, 'hi', options);
    const first = await say(chat, 'bye', { ...options, seed });
    const after = everything(chat);
    const second = await receive(chat.regenerate({ ...options, seed }));
    expect(second.tokens).toEqual(first.tokens);
    expect(Buffer.compare(everything(chat), after)).toBe(0);
  });

  test('can be undone like any reply, also long after', async () => {
    const chat = model().createChat();
    const before = await converse(chat, 2);
    await receive(chat.regenerate(options));
    before.push(...(await converse(chat, 9)));
    await receive(chat.regenerate({ ...options, seed: 5 }));
    await expectUndone(chat, before);
  });

  test('replies once more to what the conversation began with', async () => {
    const chat = model().createChat({ messages });
    const other = model().createChat({ messages: messages.slice(0, 2) });
    const reply = await receive(chat.regenerate({ ...options, seed: 7 }));
    expect(reply.tokens).toEqual((await say(other, 'c', { ...options, seed: 7 })).tokens);
    expect(chat.messages).toEqual(other.messages);
    expect(Buffer.compare(everything(chat), everything(other))).toBe(0);
    await receive(chat.regenerate({ ...options, seed: 7 }));
    expect(Buffer.compare(everything(chat), everything(other))).toBe(0);
    await chat.undo();
    expect(chat.messages).toEqual(messages.slice(0, 2));

    // An abort before its beginning leaves everything as it was.
    const begun = model().createChat({ messages });
    const signal = AbortSignal.abort(new Error('no'));
    expectFailure(await rejection(() => receive(begun.regenerate({ signal }))), { message: /no$/ });
    expect(begun.messages).toEqual(messages);
  });

  test('that cannot begin leaves the reply that the conversation began with', async () => {
    const chat = model().createChat({ messages });
    const no = new Error('no');
    const tokenMask = (): never => {
      throw no;
    };
    expect(await rejection(() => receive(chat.regenerate({ tokenMask })))).toBe(no);
    expect(chat.messages).toEqual(messages);
    expect(chat.session.state.tokens).toBe(0);
  });

  test('that cannot begin leaves the reply that there is', async () => {
    const chat = model().createChat();
    await converse(chat, 3);
    const [messages, before] = [chat.messages, chat.serialize()];
    const every = Array.from({ length: smallShape.vocabulary }, (_, id) => id);
    const failures: GenerateOptions[] = [
      { bannedTokens: every },
      { signal: AbortSignal.abort(new Error('no')) },
    ];
    for (const failure of failures) {
      await rejection(() => receive(chat.regenerate(failure)));
      expect(chat.messages).toEqual(messages);
      expect(Buffer.compare(chat.serialize(), before)).toBe(0);
    }
    const again = model().createChat({ saved: before });
    const greedy = { temperature: 0, maxTokens: 5 };
    await say(again, 'and?', greedy);
    await say(chat, 'and?', greedy);
    expect(Buffer.compare(chat.serialize(), again.serialize())).toBe(0);
  });

  test('of nothing is an error', async () => {
    expectFailure(await rejection(() => model().createChat().regenerate().next()), { code: 'ERR_WKV_STATE' });
  });
});

describe('fork', () => {
  const options: GenerateOptions = { maxTokens: 20, temperature: 1.5, topP: 1, stop: [] };
  const go = (chat: Chat): Promise<Received> => say(chat, 'and?', options);

  test('goes on alike without a seed, and otherwise with one', async () => {
    const chat = model().createChat();
    await say(chat, 'hi', { ...options, seed: 1 });
    const [same, other] = [chat.fork(), chat.fork({ seed: 2 })];
    expect(same.messages).toEqual(chat.messages);
    const [one, two, three] = await Promise.all([go(chat), go(same), go(other)]);
    expect(two.tokens).toEqual(one.tokens);
    expect(three.tokens).not.toEqual(one.tokens);
  });

  test('has turns of its own, which each branch takes back for itself', async () => {
    const chat = model().createChat();
    const before = await converse(chat, 10);
    const branch = chat.fork();
    const more = await converse(branch, 2);
    await receive(chat.regenerate(options));
    await expectUndone(branch, [...before, ...more]);
    await expectUndone(chat, before);
  });

  test('knows of a call on the session that it waits for, also once it was saved', async () => {
    const chat = model().createChat();
    await say(chat, 'a', options);
    const remark = chat.session.evaluate('A remark.');
    const branch = chat.fork();
    await remark;
    await say(branch, 'b', options);
    const saved = model().createChat({ saved: branch.serialize() });
    await saved.undo();
    expect(Buffer.compare(everything(saved), everything(chat))).toBe(0);
  });
});
