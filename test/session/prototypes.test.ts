import { join } from 'node:path';
import { Sampler, convertModel, loadModel } from '../../lib/index';
import { temporaryFolder, useRandomModel, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const { model, path } = useRandomModel();

describe('What options do not hold', () => {
  // Not Object.prototype: that is of another realm than the objects of a test.
  const prototype = Object.getPrototypeOf({}) as object;
  const add = (key: string, value: unknown): void => {
    Object.defineProperty(prototype, key, { value, configurable: true, writable: true, enumerable: true });
  };

  test('does not come from Object.prototype either', async () => {
    const found: unknown[] = [];
    try {
      add('weights', 'int8');
      for (const options of [undefined, {}]) {
        const other = await loadModel(path, options);
        found.push(other.info.weights);
        await other.dispose();
      }
      add('temperature', 0);
      add('bannedTokens', [1.5]);
      found.push((await model().createSession().complete([1], { maxTokens: 3 })).tokens.length);
      found.push(new Sampler({ seed: 1 }).sample(new Float32Array(4).fill(1)));
    } finally {
      for (const key of ['weights', 'temperature', 'bannedTokens']) Reflect.deleteProperty(prototype, key);
    }
    const token = new Sampler({ seed: 1 }).sample(new Float32Array(4).fill(1));
    expect(found).toEqual(['f32', 'f32', 3, token]);
  });

  test.each<[string, unknown]>([
    ['seed', 'no seed'],
    ['state', 'no state'],
    ['penalty', 9],
    ['logprobs', 3],
    ['finishReason', 'stop'],
    ['usage', 'none'],
    ['clean', 'no function'],
    ['cleanReply', 'no function'],
    ['opening', ' <think'],
    ['chatTemplate', 1],
    ['thinking', 3],
    ['penaltyDecay', 'no number'],
    ['penaltyExempt', 'none'],
    ['logitBias', 'none'],
    ['bannedTokens', 'none'],
    ['base', 'no state'],
  ])('nor does %s come into sessions, chats, samplers, or what is saved of them', async (key, value) => {
    const use = async (): Promise<unknown> => {
      const session = model().createSession();
      const { tokens, text } = await session.complete('a', { maxTokens: 9, seed: 1 });
      const chat = model().createChat();
      const first = await chat.complete('hi', { maxTokens: 9, seed: 2 });
      await chat.complete('you', { maxTokens: 9, seed: 3 });
      const saved = model().createChat({ saved: chat.serialize() });
      await saved.undo();
      const sampler = Sampler.deserialize(new Sampler({ seed: 4 }).serialize());
      return {
        tokens,
        text,
        first: { ...first },
        messages: saved.messages.map(({ role, content }) => ({ role, content })),
        state: saved.session.state.values(),
        sampled: sampler.sample(new Float32Array(9).fill(1)),
      };
    };
    let found: unknown;
    try {
      add(key, value);
      found = await use();
    } finally {
      Reflect.deleteProperty(prototype, key);
    }
    expect(found).toEqual(await use());
  });

  test('nor does what tensors and calls do not have', async () => {
    const others = { scale: 2, applied: 'exp', generated: true, draw: true, pack: true, place: 'none' };
    const [file, converted] = [await writeRandomModel(folder, 'plain'), join(folder, 'plain.safetensors')];
    // Loaded anew each time: the process keeps no weights of a model that was disposed.
    const use = (from: string): Promise<unknown> =>
      withModel(from, {}, async (other) => {
        const session = other.createSession();
        const logits = await session.evaluate([1, 2]);
        const { tokens } = await session.complete([3], { maxTokens: 5, seed: 1, stopTokens: [] });
        return { logits, tokens, values: session.state.values() };
      });
    let found: unknown;
    try {
      for (const [key, value] of Object.entries(others)) add(key, value);
      await convertModel(file, converted, { weights: 'f32' });
      found = await use(file);
    } finally {
      for (const key of Object.keys(others)) Reflect.deleteProperty(prototype, key);
    }
    expect(found).toEqual(await use(file));
    expect(await use(converted)).toEqual(found);
  });
});
