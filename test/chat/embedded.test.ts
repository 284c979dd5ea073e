import { demoModel, loadModel, type GenerateOptions } from '../../lib/index';
import { unless, withoutDemoModel } from '../support/unless';
import { sameState, say, sessionAfter } from './support';

const greedy: GenerateOptions = { temperature: 0, maxTokens: 800 };

unless(withoutDemoModel)('the embedded model tells a story and answers a question about it', async () => {
  const model = await loadModel(demoModel);
  const plain = model.createSession();
  const ask = async (prompt: string) => plain.complete(prompt, { ...greedy, stop: '\n\n' });
  const story = await ask('User: Tell me a story about a fox.\n\nAssistant:');
  const answer = await ask('\n\nUser: Who helped?\n\nAssistant:');
  // Its training text has only such words, spaces, punctuation and a few emoji in English stories.
  expect(story.text).toMatch(/^ ([A-Za-z',.!?]+[ \n]+){8}/);

  const chat = model.createChat();
  const first = await say(chat, 'Tell me a story about a fox.', greedy);
  const second = await say(chat, '\nWho helped?\r\n\r\n', greedy);
  expect(first.text).toBe(story.text.slice(1));
  expect(second.text).toBe(answer.text.slice(1));
  expect(second.parts.at(-1)).toMatchObject({ finishReason: 'stop' });
  expect(await sameState(chat.session, plain)).toBe(true);

  await chat.undo();
  await say(chat, '给我讲一个故事。', greedy);
  const chinese = await sessionAfter(
    model,
    'User: Tell me a story about a fox.\n\nAssistant:',
    story.tokens,
    '\n\nUser: 给我讲一个故事。\n\nAssistant:',
  );
  const { text, tokens } = await chinese.complete('', { ...greedy, stop: '\n\n' });
  expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: text.trimStart() });
  expect(tokens.length).toBeGreaterThan(0);
  expect(await sameState(chat.session, chinese)).toBe(true);
  await model.dispose();
});
