import type { Template } from '../../lib/index';
import { templates } from '../../lib/chat/templates';
import { ReplyReader } from '../../lib/chat/reply-reader';
import { receive, sameState, say, scripted, sessionAfter, useScripts, withScriptedModel } from './support';

useScripts();

const marked: Template = { ...templates.world, thinking: { begin: '<think>', end: '</think>' } };

/** What a reader makes of a reply that comes in pieces. */
function read(template: Template, pieces: readonly string[]): { thinking: string; text: string } {
  const reader = new ReplyReader(template);
  const all = [...pieces.map((piece) => reader.push(piece)), reader.end()];
  return {
    thinking: all.map(({ thinking }) => thinking).join(''),
    text: all.map(({ text }) => text).join(''),
  };
}

describe('a reply', () => {
  test.each<[string, Template, string, string, string]>([
    ['without thoughts', templates.world, ' Hi.\n', '', 'Hi.\n'],
    ['that mentions thoughts in a template without', templates.world, ' <think>Hi', '', '<think>Hi'],
    ['of G1', templates.g1, '>\nHm.\n\nOh.\n</think>\nHi!', '\nHm.\n\nOh.\n', 'Hi!'],
    [
      'of G1 with marks that are none',
      templates.g1,
      '>a</thin</thinking</think> b</think>',
      'a</thin</thinking',
      'b</think>',
    ],
    ['of G1 that ends within its thoughts', templates.g1, '>Hm', 'Hm', ''],
    ['of G1 that ends within the mark of their end', templates.g1, '>Hm</thi', 'Hm</thi', ''],
    ['of G1 that does not complete the first mark', templates.g1, 'ing</think>Hi', 'ing', 'Hi'],
    ['of G1 without thoughts', templates['g1-fast'], '>\nHi > you', '', 'Hi > you'],
    ['of G1 that does not complete the second mark', templates['g1-fast'], ' Hi', '', 'Hi'],
    ['that thinks of itself', marked, ' \n<think>Hm</think>Hi', 'Hm', 'Hi'],
    ['that begins almost like thoughts', marked, ' <thinner', '', '<thinner'],
    ['that is nothing but space', marked, '  ', '', ''],
    [
      'with thoughts that were begun for it',
      { ...marked, opening: '<think>Well,' },
      ' hm</think>Hi',
      ' hm',
      'Hi',
    ],
    [
      'with an answer that was begun for it',
      { ...marked, opening: '<think></think>So' },
      ' hm</think>',
      '',
      'hm</think>',
    ],
  ])('%s is told apart, in whatever pieces it comes', (_name, template, reply, thinking, text) => {
    for (let size = 1; size <= reply.length; size++) {
      const pieces = reply.match(new RegExp(`.{1,${size}}`, 'gs')) ?? [];
      expect(read(template, pieces)).toEqual({ thinking, text });
    }
  });
});

const prompt = 'User: hi\n\nAssistant: <think';
const pieces = ['>\n', 'Hm.', '\n\n', 'Oh', '</', 'think', '>\n', 'Hi', ' you'];

describe('a reply of G1', () => {
  test('has its thoughts apart from its text; both are remembered', async () => {
    await withScriptedModel(prompt, pieces, async (model, tokens) => {
      const chat = model.createChat({ template: 'g1' });
      const options = { ...scripted, stopTokens: tokens.slice(-1) };
      const reply = await say(chat, 'hi', options);
      expect(reply.tokens).toEqual(tokens.slice(0, -1));
      const shown = reply.parts.map(({ text, thinking }) => thinking ?? text);
      // A newline waits for what follows it: it could begin the stop string.
      expect(shown).toEqual(['\nHm.', '\n\nOh', 'Hi', ' you', '']);
      expect(reply.parts.map(({ thinking }) => thinking !== undefined).slice(1, 3)).toEqual([true, false]);
      expect(chat.messages).toEqual([
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'Hi you', thinking: '\nHm.\n\nOh' },
      ]);
      expect(await sameState(chat.session, await sessionAfter(model, prompt, reply.tokens))).toBe(true);

      const completion = await model.createChat({ template: 'g1' }).complete('hi', options);
      expect(completion).toMatchObject({ text: 'Hi you', thinking: '\nHm.\n\nOh', finishReason: 'stop' });
    });
  });

  test('that is left keeps what the session knows of it, the beginning of a mark too', async () => {
    await withScriptedModel(prompt, pieces, async (model, tokens) => {
      const chat = model.createChat({ template: 'g1' });
      await receive(chat.send('hi', { ...scripted, maxTokens: 6 }));
      expect(chat.messages[1]).toEqual({ role: 'assistant', content: '', thinking: '\nHm.\n\nOh</think' });
      expect(await sameState(chat.session, await sessionAfter(model, prompt, tokens.slice(0, 6)))).toBe(true);
    });
  });

  test.each(['\n\nU', '\nU'])(
    'ends where the user would speak, %j, and not at a blank line',
    async (line) => {
      const spoken = [...pieces, line, 'ser', ': no'];
      await withScriptedModel(prompt, spoken, async (model, tokens) => {
        const chat = model.createChat({ template: 'g1' });
        const reply = await say(chat, 'hi', scripted);
        expect(reply.parts.at(-1)).toMatchObject({ finishReason: 'stop' });
        expect(reply.text).toBe('Hi you');
        const remembered = tokens.slice(0, pieces.length);
        expect(await sameState(chat.session, await sessionAfter(model, prompt, remembered))).toBe(true);
      });
    },
  );
});

test.each([
  ['without an opening', '', [' <th', 'ink>', 'Hm', '</think>', 'Hi']],
  ['with an opening that ends inside of it', ' <think', ['>', 'Hm', '</think>', 'Hi']],
])('White space before the mark of thoughts does not count %s', async (_how, opening, said) => {
  const template = { ...marked, opening, thinking: { begin: ' <think>', end: '</think>' } };
  await withScriptedModel(`User: hi\n\nAssistant:${opening}`, said, async (model, tokens) => {
    const chat = model.createChat({ template });
    const reply = await chat.complete('hi', { ...scripted, stopTokens: tokens.slice(-1) });
    expect(reply).toMatchObject({ thinking: 'Hm', text: 'Hi' });
  });
});
