// Reads saved conversations by docs/chat-format.md alone.

import { createHash } from 'node:crypto';
import { State } from '../../lib/index';
import { useRandomModel } from '../support/model';
import { say, sessionAfter } from '../chat/support';
import { sameBits } from '../support/compare';

const { model } = useRandomModel();

interface Parsed {
  header: Record<string, unknown> & { turns: Record<string, unknown>[]; states: number[] };
  states: Uint8Array[];
}

function parse(bytes: Uint8Array): Parsed {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  expect(Buffer.from(bytes.subarray(0, 8)).toString('latin1')).toBe('WKVCHAT\0');
  expect(view.getUint32(8, true)).toBe(1);
  const checksum = createHash('sha256').update(bytes.subarray(0, -32)).digest();
  expect(Buffer.from(bytes.subarray(-32))).toEqual(checksum);
  let at = 16 + view.getUint32(12, true);
  const header = JSON.parse(Buffer.from(bytes.subarray(16, at)).toString('utf8')) as Parsed['header'];
  const states = header.states.map((length) => bytes.subarray(at, (at += length)));
  expect(at).toBe(bytes.length - 32);
  return { header, states };
}

const ids = (text: string): number[] => [...Buffer.from(text)];

test('a saved conversation has what the page says', async () => {
  const chat = model().createChat({
    system: 'Brief.',
    messages: [
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: 'Two.' },
    ],
  });
  const first = await say(chat, 'a', { maxTokens: 3, seed: 7 });
  await chat.session.evaluate('Aside.', { logits: 'none' });
  const second = await say(chat, 'b', {
    maxTokens: 2,
    penalties: 'session',
    penaltyDecay: 0.5,
    penaltyExempt: [1, 2],
  });
  const third = await say(chat, 'c', { maxTokens: 0, seed: 2n ** 64n - 1n });
  await say(chat, 'd', { maxTokens: 0 });

  const { header, states } = parse(chat.serialize());
  const plain = { thinking: null, penalties: 'generation', penaltyDecay: null, penaltyExempt: null };
  const before = 'System: Brief.\n\nUser: One?\n\nAssistant: Two.\n\nUser: a\n\nAssistant:';
  expect(header).toEqual({
    template: 'world',
    system: 'Brief.',
    exchanges: [{ user: 'One?', thinking: null, reply: 'Two.' }],
    turns: [
      {
        ...plain,
        user: 'a',
        reply: first.text,
        prompt: ids(before),
        tokens: first.tokens,
        random: { seed: expect.stringMatching(/^\d+$/) as string, draws: '0' },
        base: 'empty',
      },
      {
        user: 'b',
        thinking: null,
        reply: second.text,
        prompt: ids('\n\nUser: b\n\nAssistant:'),
        tokens: second.tokens,
        random: { seed: '7', draws: '3' },
        penalties: 'session',
        penaltyDecay: 0.5,
        penaltyExempt: [1, 2],
        base: 1,
      },
      {
        ...plain,
        user: 'c',
        reply: third.text,
        prompt: ids('\n\nUser: c\n\nAssistant:'),
        tokens: [],
        random: { seed: '7', draws: '5' },
        base: 'previous',
      },
      {
        ...plain,
        user: 'd',
        reply: '',
        prompt: ids('\n\nUser: d\n\nAssistant:'),
        tokens: [],
        random: { seed: '18446744073709551615', draws: '0' },
        base: 'previous',
      },
    ],
    states: states.map(({ length }) => length),
  });

  expect(states).toHaveLength(2);
  expect(sameBits(states[0]!, chat.session.state.serialize())).toBe(true);
  const aside = await sessionAfter(model(), before, first.tokens, 'Aside.');
  expect(sameBits(State.deserialize(states[1]!).values(), aside.state.values())).toBe(true);
});

test('a conversation in which nothing was said has one state, and no template of its own', () => {
  const template = { system: String, user: String, label: '', separator: '', stop: [] };
  const { header, states } = parse(model().createChat({ template }).serialize());
  expect(header).toMatchObject({ template: null, system: null, exchanges: [], turns: [] });
  expect(states).toHaveLength(1);
});
