import type { Chat, ChatMessage, ChatOptions, Template } from '../../lib/index';
import {
  callUnchecked,
  expectFailure,
  invalidArgument,
  outOfRange,
  rejection,
  thrown,
  type Failure,
} from '../support/failure';
import { useRandomModel } from '../support/model';
import { sameState, say, sessionAfter } from './support';

const { model } = useRandomModel();

/** What a chat has written after it was told "hi" and "bye", with empty replies. */
async function expectText(options: ChatOptions, first: string, second: string): Promise<void> {
  const chat = model().createChat(options);
  await say(chat, 'hi', { maxTokens: 0 });
  expect(await sameState(chat.session, await sessionAfter(model(), first))).toBe(true);
  await say(chat, 'bye', { maxTokens: 0 });
  expect(await sameState(chat.session, await sessionAfter(model(), first, second))).toBe(true);
}

describe('a conversation is written', () => {
  test.each<[string, ChatOptions, string, string]>([
    ['World by default', {}, 'User: hi\n\nAssistant:', '\n\nUser: bye\n\nAssistant:'],
    [
      'World with a system',
      { template: 'world', system: 'Be brief.' },
      'System: Be brief.\n\nUser: hi\n\nAssistant:',
      '\n\nUser: bye\n\nAssistant:',
    ],
    [
      'Instruction',
      { template: 'instruction' },
      'Instruction: hi\n\nResponse:',
      '\n\nInstruction: bye\n\nResponse:',
    ],
    [
      'Instruction with a system',
      { template: 'instruction', system: 'Translate.' },
      'Instruction: Translate.\n\nInput: hi\n\nResponse:',
      '\n\nInput: bye\n\nResponse:',
    ],
    ['World v3', { template: 'world-v3' }, 'User: hi\n\nAssistant:', '\n\nUser: bye\n\nAssistant:'],
    ['Raven', { template: 'raven' }, 'Bob: hi\n\nAlice:', '\n\nBob: bye\n\nAlice:'],
    [
      'Raven with a system',
      { template: 'raven', system: 'Alice helps Bob.' },
      'Alice helps Bob.\n\nBob: hi\n\nAlice:',
      '\n\nBob: bye\n\nAlice:',
    ],
    [
      'G1, which stops before the end of <think>',
      { template: 'g1' },
      'User: hi\n\nAssistant: <think',
      '\n\nUser: bye\n\nAssistant: <think',
    ],
    [
      'G1 without thoughts, which stops before the end of </think>',
      { template: 'g1-fast', system: 'Be brief.' },
      'System: Be brief.\n\nUser: hi\n\nAssistant: <think></think',
      '\n\nUser: bye\n\nAssistant: <think></think',
    ],
  ])('as %s', async (_name, options, first, second) => {
    await expectText(options, first, second);
  });

  test("as a template of the caller's own says", async () => {
    const template: Template = {
      system: (text) => `[${text}]`,
      user: (text, { system }) => `<u${system ? '+' : ''}>${text}</u>`,
      label: '<a>',
      opening: ' I say',
      separator: '</a>',
      stop: ['</a>'],
      clean: (text) => text.replaceAll('<', '').toUpperCase(),
    };
    await expectText({ template, system: 'a<b' }, '[AB]<u+>HI</u><a> I say', '</a><u+>BYE</u><a> I say');
    await expectText({ template }, '<u>HI</u><a> I say', '</a><u>BYE</u><a> I say');
  });
});

describe('messages that a conversation begins with', () => {
  const messages: ChatMessage[] = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'One?' },
    { role: 'assistant', content: 'Two.' },
    { role: 'user', content: 'Three?' },
    { role: 'assistant', content: '' },
  ];

  test('are written like a conversation that was had', async () => {
    const first =
      'System: Be brief.\n\nUser: One?\n\nAssistant: Two.\n\nUser: Three?\n\nAssistant:\n\n' +
      'User: hi\n\nAssistant:';
    await expectText({ messages }, first, '\n\nUser: bye\n\nAssistant:');
    const [{ content }, ...rest] = messages as [ChatMessage, ...ChatMessage[]];
    await expectText({ system: content, messages: rest }, first, '\n\nUser: bye\n\nAssistant:');
  });

  test('have their thoughts where a template has a place for them', async () => {
    const thought: ChatMessage[] = [
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: 'Two.', thinking: '\n1 + 1\n\nSo 2.\n' },
      { role: 'user', content: 'Why?' },
      { role: 'assistant', content: 'Because.' },
    ];
    await expectText(
      { template: 'g1', messages: thought },
      'User: One?\n\nAssistant: <think>\n1 + 1\n\nSo 2.\n</think>\nTwo.\n\n' +
        'User: Why?\n\nAssistant: Because.\n\nUser: hi\n\nAssistant: <think',
      '\n\nUser: bye\n\nAssistant: <think',
    );
    await expectText(
      { messages: thought },
      'User: One?\n\nAssistant: Two.\n\nUser: Why?\n\nAssistant: Because.\n\nUser: hi\n\nAssistant:',
      '\n\nUser: bye\n\nAssistant:',
    );
  });

  test('are copied, and are evaluated with what is said first', () => {
    const given = messages.map((message) => ({ ...message }));
    const chat = model().createChat({ messages: given });
    given[1]!.content = 'changed';
    given.pop();
    expect(chat.messages).toEqual(messages);
    expect(chat.session.state.tokens).toBe(0);
  });

  test.each<[string, unknown, RegExp]>([
    ['no array', 'hi', /options\.messages: expected an array/],
    ['no messages', ['hi'], /options\.messages\[0\]: expected a plain object/],
    ['not there', [undefined], /options\.messages\[0\]/],
    ['with holes', new Array<unknown>(2), /options\.messages\[0\]/],
    [
      'of an unknown role',
      [{ role: 'bot', content: '' }],
      /messages\[0\]\.role.*'system', 'user', 'assistant'/,
    ],
    ['without content', [{ role: 'user' }], /messages\[0\]\.content: expected a string/],
    [
      'with another key',
      [{ role: 'user', content: 'a', name: 'b' }],
      /messages\[0\]\.name: there is no such/,
    ],
    ['that end with the user', [{ role: 'user', content: 'a' }], /for send\(\)/],
    ['out of turn', [{ role: 'assistant', content: 'a' }], /messages\[0\]\.role: expected 'user'/],
    [
      'blank',
      [
        { role: 'user', content: '\n' },
        { role: 'assistant', content: 'a' },
      ],
      /messages\[0\]\.content.*blank/,
    ],
    [
      'with a user who thinks',
      [
        { role: 'user', content: 'a', thinking: 'b' },
        { role: 'assistant', content: 'c' },
      ],
      /messages\[0\]\.thinking/,
    ],
  ])('are refused if they are %s', (_name, wrong, message) => {
    expectFailure(
      thrown(() => callUnchecked(model(), 'createChat', [{ messages: wrong }])),
      invalidArgument(message),
    );
  });

  test('are refused with two systems', () => {
    expectFailure(
      thrown(() => model().createChat({ system: 'a', messages })),
      invalidArgument(/options\.messages\[0\]: options\.system is given too/),
    );
  });
});

describe('a template', () => {
  const whole = { system: String, user: String, label: 'a', separator: 'b', stop: [] };
  const exchange = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b', thinking: 'c' },
  ];
  const chatWith = (parts: object, options: object = {}): Chat =>
    callUnchecked(model(), 'createChat', [{ template: { ...whole, ...parts }, ...options }]) as Chat;
  const notText = (name: string): Failure => ({
    type: TypeError,
    code: 'ERR_INVALID_ARG_TYPE',
    message: new RegExp(`what options\\.template\\.${name} returns: expected a string`),
  });

  test.each([
    ['user', { user: (said: string) => Promise.resolve(said) }],
    ['system', { system: () => undefined }],
  ])('whose %s function returns no text fails before the model reads anything', async (name, parts) => {
    const chat = chatWith(parts, { system: 'a' });
    expectFailure(await rejection(() => chat.complete('hi')), notText(name));
    expect(chat.session.state.tokens).toBe(0);
    expect(chat.messages).toHaveLength(1);
  });

  test.each([
    ['clean', { clean: () => undefined }],
    ['cleanReply', { cleanReply: () => Buffer.from('b') }],
  ])('whose %s function returns no text fails where messages are given', (name, parts) => {
    expectFailure(
      thrown(() => chatWith(parts, { messages: exchange })),
      notText(name),
    );
  });

  test('cleans given replies like what a user says, unless it has a function for them', () => {
    const clean = (said: string): string => said.toUpperCase();
    const contents = (parts: object): string[] =>
      chatWith(parts, { messages: exchange }).messages.map(({ content }) => content);
    expect(contents({ clean })).toEqual(['A', 'B']);
    expect(contents({ clean, cleanReply: String })).toEqual(['A', 'b']);
  });

  test('whose clean function returns no text fails where something is said', () => {
    const chat = chatWith({ clean: () => 5 });
    expectFailure(
      thrown(() => chat.send('hi')),
      notText('clean'),
    );
  });

  test('may have functions that use what else it has', async () => {
    const template: Template & ThisType<Template> = {
      system: String,
      label: 'A:',
      separator: ' ',
      stop: [],
      user(said) {
        return `${this.label}${said}`;
      },
    };
    await expectText({ template }, 'A:hiA:', ' A:byeA:');
  });

  test.each([[['a', '']], [['a', 'b'.repeat(4097)]]])('with stop strings like %j is refused', (stop) => {
    expectFailure(
      thrown(() => chatWith({ stop })),
      outOfRange(/options\.template\.stop\[1\]: expected a string of 1 to 4096 bytes/),
    );
  });

  test.each<[unknown, RegExp]>([
    ['alpaca', /options\.template: expected one of 'world', .*'g1-fast', found 'alpaca'/],
    [5, /options\.template: expected a plain object/],
    [{}, /options\.template\.system/],
    [{ ...whole, user: 'User: ' }, /options\.template\.user: expected a function/],
    [{ ...whole, stop: 'a' }, /options\.template\.stop: expected an array/],
    [{ ...whole, stop: [1] }, /options\.template\.stop\[0\]: expected a string/],
    [{ ...whole, stop: new Array(2) }, /options\.template\.stop\[0\]: expected a string/],
    [{ ...whole, thinking: { begin: '<' } }, /options\.template\.thinking: expected two strings/],
    [{ ...whole, thinking: { begin: ' ', end: '>' } }, /options\.template\.thinking: expected two strings/],
    [{ ...whole, name: 'a' }, /options\.template\.name: there is no such option/],
  ])('%j is refused', (template, message) => {
    expectFailure(
      thrown(() => callUnchecked(model(), 'createChat', [{ template }])),
      invalidArgument(message),
    );
  });
});
