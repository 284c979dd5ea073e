import { createHash } from 'node:crypto';
import {
  loadModel,
  Tokenizer,
  type Chat,
  type GenerateOptions,
  type Model,
  type Template,
} from '../../lib/index';
import { templates } from '../../lib/chat/templates';
import { smallShape, temporaryFolder, writeRandomModel, useRandomModel } from '../support/model';
import { sameBits } from '../support/compare';
import { expectFailure, invalidArgument, thrown } from '../support/failure';
import { xxh64 } from '../support/xxh64';
import { receive, say } from './support';

const { model } = useRandomModel();
const folder = temporaryFolder();
const options: GenerateOptions = { maxTokens: 10, penalties: 'session' };

/** A conversation of everything that can be saved. */
async function conversation(): Promise<Chat> {
  const chat = model().createChat({
    system: 'Be brief.',
    messages: [
      { role: 'user', content: 'One? 🦊 \ud800' },
      { role: 'assistant', content: 'Two.' },
    ],
  });
  await say(chat, 'a', { ...options, seed: 2n ** 64n - 1n });
  await say(chat, 'b', { ...options, penaltyDecay: 0.5, penaltyExempt: [1, 2, 3] });
  await chat.session.evaluate('A remark.', { logits: 'none' });
  await say(chat, 'c', options);
  return chat;
}

const restored = (chat: Chat): Chat => model().createChat({ saved: chat.serialize() });
const state = (chat: Chat): Buffer => Buffer.from(chat.session.state.serialize());

describe('a saved conversation', () => {
  test('has the same messages and the same state', async () => {
    const chat = await conversation();
    const again = restored(chat);
    expect(again.messages).toEqual(chat.messages);
    expect(Buffer.compare(state(again), state(chat))).toBe(0);
    expect(Buffer.compare(again.serialize(), chat.serialize())).toBe(0);
  });

  test('goes on and is taken back exactly like the one that it was made of', async () => {
    const chat = await conversation();
    const again = restored(chat);
    const [one, two] = [await say(chat, 'd', options), await say(again, 'd', options)];
    expect(two.tokens).toEqual(one.tokens);
    const [three, four] = [chat.regenerate({ seed: 1 }), again.regenerate({ seed: 1 })];
    expect((await receive(four)).tokens).toEqual((await receive(three)).tokens);
    for (let turns = 4; turns > 0; turns--) {
      await Promise.all([chat.undo(), again.undo()]);
      expect(again.messages).toEqual(chat.messages);
      expect(Buffer.compare(state(again), state(chat))).toBe(0);
    }
  });

  test('may be one in which nothing has been said, or one in a session that was given', async () => {
    const fresh = restored(model().createChat({ system: 'Be brief.', template: 'raven' }));
    expect(fresh.messages).toEqual([{ role: 'system', content: 'Be brief.' }]);
    const session = model().createSession();
    await session.evaluate('A manual.');
    const chat = model().createChat({ session });
    const before = state(chat);
    await say(chat, 'a', options);
    const again = restored(chat);
    await again.undo();
    expect(Buffer.compare(state(again), before)).toBe(0);
  });

  test('knows after that whether its session was used since the last exchange', async () => {
    const chat = model().createChat();
    await say(chat, 'a', options);
    await chat.session.evaluate('A remark.');
    const again = restored(chat);
    const before = state(again);
    await say(again, 'b', options);
    const third = restored(again);
    await third.undo();
    expect(Buffer.compare(state(third), before)).toBe(0);
  });

  test('keeps a first state of zeros, where sessions of the model begin with another', async () => {
    const path = await writeRandomModel(folder, 'tuned', { ...smallShape, timeState: true });
    const tuned = await loadModel(path, { tokenizer: Tokenizer.bytes() });
    const zeros = tuned.createSession().state.values().fill(0);
    const given = tuned.importState(zeros, { layout: 'rwkv.cpp' });
    for (const session of [tuned.createSession(), tuned.createSession({ state: given })]) {
      const values = session.state.values();
      const chat = tuned.createChat({ session });
      await say(chat, 'a', options);
      const again = tuned.createChat({ saved: chat.serialize() });
      await again.undo();
      expect(sameBits(again.session.state.values(), values)).toBe(true);
    }
    await tuned.dispose();
  });

  test('keeps thoughts', () => {
    const chat = model().createChat({
      template: 'g1',
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b', thinking: '\nc\n' },
      ],
    });
    expect(restored(chat).messages).toEqual(chat.messages);
  });

  test('knows its template by name, and wants one of its own again', async () => {
    const named = model().createChat({ template: 'raven' }).serialize();
    expect(model().createChat({ saved: named, template: 'raven' }).messages).toEqual([]);
    expectFailure(
      thrown(() => model().createChat({ saved: named, template: 'world' })),
      invalidArgument(/options\.template: .* is 'raven'/),
    );
    const template: Template = { ...templates.world, label: 'AI:' };
    const chat = model().createChat({ template });
    await say(chat, 'a', options);
    const own = chat.serialize();
    expectFailure(
      thrown(() => model().createChat({ saved: own })),
      invalidArgument(/options\.template: .*give it again/),
    );
    const again = model().createChat({ saved: own, template });
    const [one, two] = [await say(chat, 'b', options), await say(again, 'b', options)];
    expect(two.tokens).toEqual(one.tokens);
  });

  test.each(['system', 'messages', 'session'])('takes no %s besides', (key) => {
    const saved = model().createChat().serialize();
    const besides: Record<string, unknown> = {
      system: 'a',
      messages: [],
      session: model().createSession(),
    };
    expectFailure(
      thrown(() => model().createChat({ saved, [key]: besides[key] })),
      invalidArgument(new RegExp(`options\\.${key}: options\\.saved has everything`)),
    );
  });

  test('of another model is refused', async () => {
    const saved = (await conversation()).serialize();
    const other: Model = await loadModel(await writeRandomModel(folder, 'other', { ...smallShape, seed: 8 }));
    expectFailure(
      thrown(() => other.createChat({ saved })),
      { code: 'ERR_WKV_STATE' },
    );
    await other.dispose();
  });
});

/** Bytes with another header, in a frame that fits. */
function reheaded(bytes: Uint8Array, change: (header: Header) => unknown): Buffer {
  const whole = Buffer.from(bytes);
  const length = whole.readUInt32LE(12);
  const header = JSON.parse(whole.subarray(16, 16 + length).toString()) as Header;
  const changed = change(header) ?? header;
  const text = Buffer.from(typeof changed === 'string' ? changed : JSON.stringify(changed));
  whole.writeUInt32LE(text.length, 12);
  return sealed(Buffer.concat([whole.subarray(0, 16), text, whole.subarray(16 + length, -32)]));
}

function sealed(content: Buffer): Buffer {
  return Buffer.concat([content, createHash('sha256').update(content).digest()]);
}

interface Header extends Record<string, unknown> {
  turns: (Record<string, unknown> & { prompt: unknown[] })[];
  states: unknown[];
}

describe('bytes that are no saved conversation', () => {
  let bytes: Buffer;
  beforeAll(async () => {
    bytes = Buffer.from((await conversation()).serialize());
  });
  const refuse = (saved: Uint8Array, message?: RegExp): void => {
    expectFailure(
      thrown(() => model().createChat({ saved })),
      { code: 'ERR_WKV_STATE', ...(message === undefined ? {} : { message }) },
    );
  };

  test('are refused wherever they end', () => {
    for (let end = 0; end < bytes.length; end += end < 100 ? 1 : 977) refuse(bytes.subarray(0, end));
    refuse(Buffer.concat([bytes, Buffer.of(0)]), /damaged/);
  });

  test('are refused wherever a bit is turned', () => {
    for (let at = 0; at < bytes.length; at += at < 100 ? 1 : 977) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << (at % 8);
      refuse(damaged);
    }
  });

  test('are refused if they are of another version or kind', () => {
    const other = Buffer.from(bytes);
    other.writeUInt32LE(2, 8);
    expectFailure(
      thrown(() => model().createChat({ saved: other })),
      { code: 'ERR_WKV_STATE', message: /another version/, expected: /version 1$/, found: /version 2$/ },
    );
    refuse(model().createSession().state.serialize(), /do not begin with WKVCHAT/);
    refuse(sealed(Buffer.concat([bytes.subarray(0, 12), Buffer.alloc(4, 0xff)])), /header is longer/);
  });

  test('are accepted with a header that is written anew, so that what follows is not for nothing', () => {
    const saved = reheaded(bytes, (header) => header);
    expect(model().createChat({ saved }).messages).toHaveLength(9);
  });

  test.each<[string, (header: Header) => unknown]>([
    ['no JSON', () => '{'],
    ['deeply nested', () => '['.repeat(1_000_000)],
    ['null', () => 'null'],
    ['an array', () => []],
    ['short of a key', ({ system: _, ...rest }) => rest],
    ['of one key more', (header) => ({ ...header, extra: 1 })],
    ['with a prototype', (header) => JSON.stringify(header).replace('"system"', '"__proto__"')],
    ['of an unknown template', (header) => ({ ...header, template: 'constructor' })],
    ['with a number for a text', (header) => ({ ...header, system: 1 })],
    ['with exchanges that are none', (header) => ({ ...header, exchanges: ['hi'] })],
    ['with turns that are none', (header) => ({ ...header, turns: {} })],
    ['with a length too large', (header) => void (header.states[0] = 2 ** 40)],
    ['with a negative length', (header) => void (header.states[0] = -1)],
    ['without states', (header) => ({ ...header, states: [] })],
    ['with a state too many', (header) => void header.states.push(0)],
    ['with half a length', (header) => void (header.states[0] = Number(header.states[0]) - 1)],
    ['with an id outside the vocabulary', ({ turns }) => void (turns[0]!.prompt[0] = smallShape.vocabulary)],
    ['with half an id', ({ turns }) => void (turns[0]!.prompt[0] = 0.5)],
    ['with a text for an id', ({ turns }) => void (turns[0]!.prompt[0] = '1')],
    ['with ids that are no array', ({ turns }) => void (turns[0]!['tokens'] = { length: 1e9 })],
    [
      'with a seed too large',
      ({ turns }) => void (turns[0]!['random'] = { seed: `${2n ** 64n}`, draws: '0' }),
    ],
    ['with a seed that is none', ({ turns }) => void (turns[0]!['random'] = { seed: '-1', draws: '0' })],
    ['with unknown penalties', ({ turns }) => void (turns[0]!['penalties'] = 'none')],
    ['with a decay above 1', ({ turns }) => void (turns[0]!['penaltyDecay'] = 1.1)],
    ['with a first turn that follows another', ({ turns }) => void (turns[0]!['base'] = 'previous')],
    ['with a base that is not there', ({ turns }) => void (turns[2]!['base'] = 9)],
    ['with the last state as a base', ({ turns }) => void (turns[2]!['base'] = 0)],
    ['with an unknown base', ({ turns }) => void (turns[2]!['base'] = 'none')],
  ])('are refused with a header that is %s, also if the checksum fits', (_name, change) => {
    refuse(reheaded(bytes, change));
  });

  test('are refused by the place in the header, what belongs there, and what is there', () => {
    const saved = reheaded(bytes, ({ turns }) => void (turns[1]!['penaltyDecay'] = 1.1));
    refuse(saved, /header\.turns\[1\]\.penaltyDecay: expected a number from 0 to 1, found 1\.1/);
    const half = reheaded(bytes, ({ turns }) => void (turns[1]!.prompt[2] = 0.5));
    refuse(half, /header\.turns\[1\]\.prompt\[2\]: expected a token id from 0 to 255, found 0\.5/);
  });

  test('are refused with a header that is no UTF-8', () => {
    const content = Buffer.from(bytes.subarray(0, -32));
    content[content.indexOf('Be brief.')] = 0xff;
    refuse(sealed(content), /header is no JSON/);
  });

  test('are refused with more than the states that the header knows of, also if the checksum fits', () => {
    const longer = Buffer.concat([bytes.subarray(0, -32), Buffer.alloc(4)]);
    refuse(sealed(longer), /their length does not fit their header/);
  });

  test('are refused with a damaged state, also if the checksum fits', () => {
    const content = Buffer.from(bytes.subarray(0, -32));
    content[content.length - 1000]! ^= 1;
    refuse(sealed(content), /damaged/);
  });

  test('are refused with a state of other weights that only undo() would need', () => {
    const content = Buffer.from(bytes.subarray(0, -32));
    const start = content.lastIndexOf('WKVSTATE');
    expect(start).toBeGreaterThan(content.indexOf('WKVSTATE'));
    content.fill('0', start + 16, start + 48);
    content.writeBigUInt64LE(xxh64(content.subarray(start, -8)), content.length - 8);
    refuse(sealed(content), /other weights/);
  });
});
