import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultTemplate } from '../../lib/chat/templates';
import { convertModel, loadModel, Tokenizer, type ChatOptions, type Model } from '../../lib/index';
import { json, wkv } from '../cli/support';
import { temporaryFolder } from '../support/model';
import { ggufMetadata, ggufShape, ggufTensors, rwkv7 } from '../support/gguf-models';
import { ggufBytes, type GgufEntry } from '../support/gguf-writer';
import { sameState, say, sessionAfter } from './support';

const folder = temporaryFolder();
const shape = { ...ggufShape, vocabulary: 256 };

const raven = `{% for m in messages %}{{ ('Bob: ' if m['role'] == 'user' else 'Alice: ') + m['content'] }}\n\n{% endfor %}`;
const chatML =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}{% endfor %}";

function writeGguf(name: string, chatTemplate?: string): string {
  const path = join(folder, `${name}.gguf`);
  const extra: Record<string, GgufEntry> =
    chatTemplate === undefined ? {} : { 'tokenizer.chat_template': ['string', chatTemplate] };
  const metadata = { ...ggufMetadata('rwkv7', shape), ...extra };
  writeFileSync(path, ggufBytes(ggufTensors('rwkv7', rwkv7(shape), {}), { metadata }));
  return path;
}

async function withGguf(path: string, use: (model: Model) => Promise<void>): Promise<void> {
  const model = await loadModel(path, { tokenizer: Tokenizer.bytes() });
  try {
    await use(model);
  } finally {
    await model.dispose();
  }
}

/** Checks what a chat has written after it was told "hi", with an empty reply. */
async function expectWritten(model: Model, options: ChatOptions, text: string): Promise<void> {
  const chat = model.createChat(options);
  await say(chat, 'hi', { maxTokens: 0 });
  expect(await sameState(chat.session, await sessionAfter(model, text))).toBe(true);
}

test.each<[string | undefined, string, string]>([
  [undefined, 'world', 'world-v3'],
  ['', 'world', 'world-v3'],
  ['rwkv-world', 'world', 'world-v3'],
  ["{{ 'User: ' + m['content'] + '\\n\\nAssistant:' }}", 'world', 'world-v3'],
  ["{{ 'User: ' + m['content'] + '\\n\\nAssistant: <think' }}", 'g1-fast', 'g1-fast'],
  [raven, 'raven', 'raven'],
  ["{{ 'Instruction: ' + m['content'] + '\\n\\nResponse:' }}", 'instruction', 'instruction'],
  [chatML, 'world', 'world-v3'],
  ['User:', 'world', 'world-v3'],
  ['User: Assistant: Instruction: Response:', 'world', 'world-v3'],
])('chats of a file that says %j are %j, of RWKV-7 %j', (chatTemplate, name, ofSeven) => {
  for (const version of ['4', '5.2', '6']) expect(defaultTemplate(version, chatTemplate)).toBe(name);
  expect(defaultTemplate('7', chatTemplate)).toBe(ofSeven);
});

describe("The chat template of a model's file", () => {
  test('is what its chats are written by, unless they say another', async () => {
    await withGguf(writeGguf('raven', raven), async (model) => {
      expect(model.info.chatTemplate).toBe(raven);
      await expectWritten(model, {}, 'Bob: hi\n\nAlice:');
      await expectWritten(model, { template: 'world' }, 'User: hi\n\nAssistant:');
    });
  });

  test.each([
    ['like none of the package', chatML],
    ['not there', undefined],
  ])('that is %s leaves them in the World format', async (_what, chatTemplate) => {
    await withGguf(writeGguf('other', chatTemplate), async (model) => {
      expect(model.info.chatTemplate).toBe(chatTemplate);
      expect('chatTemplate' in model.info).toBe(chatTemplate !== undefined);
      await expectWritten(model, {}, 'User: hi\n\nAssistant:');
    });
  });

  test.each(['int8', 'f32'] as const)('goes with it into a file of %s', async (weights) => {
    const path = join(folder, `raven.${weights}.safetensors`);
    await convertModel(writeGguf('converted', raven), path, { weights });
    await withGguf(path, async (model) => {
      expect(model.info.chatTemplate).toBe(raven);
      await expectWritten(model, {}, 'Bob: hi\n\nAlice:');
    });
  });

  test("that is full of zeros does not take the place of a packed file's fingerprint", async () => {
    const template = `Bob: Alice: ${'0'.repeat(100)}`;
    const path = join(folder, 'zeros.int8.safetensors');
    const { fingerprint } = await convertModel(writeGguf('zeros', template), path, { weights: 'int8' });
    await withGguf(path, (model) => {
      expect(model.info).toMatchObject({ chatTemplate: template, fingerprint });
      return Promise.resolve();
    });
  });

  test('is refused in a conversion where it is too long for any model', async () => {
    const path = writeGguf('long', 'x'.repeat((1 << 20) + 1));
    for (const weights of ['int8', 'f32'] as const) {
      const conversion = convertModel(path, join(folder, 'long.safetensors'), { weights });
      await expect(conversion).rejects.toMatchObject({
        ...{ code: 'ERR_WKV_FORMAT', path, expected: 'at most 1048576 characters' },
      });
    }
  });

  test('is shown by wkv inspect, with what it is taken for', async () => {
    const path = writeGguf('shown', raven);
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({ chatTemplate: raven });
    expect(String((await wkv(['inspect', path])).stdout)).toMatch(
      /^chats +written as 'raven'; the file's own template is \{% for /m,
    );
    const other = await wkv(['inspect', writeGguf('shown-other')]);
    expect(String(other.stdout)).toMatch(
      /^chats +written as 'world-v3'; the file has no template of its own$/m,
    );
  });
});
