import {
  loadModel,
  Tokenizer,
  type Chat,
  type ChatPart,
  type GenerateOptions,
  type Model,
  type Session,
  type TokenizerLike,
} from '../../lib/index';
import { temporaryFolder, writeRandomModel } from '../support/model';
import { sameBits } from '../support/compare';

/** A short reply, always the same. */
export const few = { temperature: 0, maxTokens: 12 } as const satisfies GenerateOptions;

/** What is evaluated when a conversation begins with this text. */
export const prompt = (text: string): string => `User: ${text}\n\nAssistant:`;

/** A session that has seen exactly this. */
export async function sessionAfter(
  model: Model,
  ...inputs: (string | readonly number[])[]
): Promise<Session> {
  const session = model.createSession();
  for (const input of inputs) await session.evaluate(input, { logits: 'none' });
  return session;
}

/** Whether two sessions remember the same, to the last bit, and expect the same next token. */
export async function sameState(a: Session, b: Session): Promise<boolean> {
  const [ofA, ofB] = [await a.evaluate([]), await b.evaluate([])];
  return sameBits(ofA, ofB) && sameBits(a.state.values(), b.state.values());
}

export interface Received {
  parts: ChatPart[];
  text: string;
  thinking: string;
  tokens: number[];
}

/** All that a reply delivers. */
export async function receive(reply: AsyncIterable<ChatPart>): Promise<Received> {
  const parts: ChatPart[] = [];
  for await (const part of reply) parts.push(part);
  return {
    parts,
    text: parts.map(({ text }) => text).join(''),
    thinking: parts.map(({ thinking = '' }) => thinking).join(''),
    tokens: parts.flatMap(({ tokens }) => tokens),
  };
}

export const say = (chat: Chat, text: string, options?: GenerateOptions): Promise<Received> =>
  receive(chat.send(text, options));

/** Draws different tokens all the time, always the same ones. */
export const scripted: GenerateOptions = { temperature: 0, presencePenalty: 100, frequencyPenalty: 0 };

/**
 * Hands on a model that answers `prompt` with these pieces of text, and then ends the text, when it draws as
 * {@link scripted} says: its tokens are bytes when text is encoded, and stand for the pieces when they are decoded.
 */
export async function withScriptedModel(
  prompt: string,
  pieces: readonly string[],
  use: (model: Model, tokens: number[]) => Promise<void>,
): Promise<void> {
  const path = await writeRandomModel(scriptFolder(), 'scripted');
  const bytes = Tokenizer.bytes();
  const script = new Map<number, Buffer>();
  const tokenizer: TokenizerLike = {
    size: 256,
    endOfText: 0,
    encode: (text) => bytes.encode(text),
    decodeBytes: (tokens) => Buffer.concat(Array.from(tokens, (id) => script.get(id) ?? Buffer.of(id))),
  };
  const plain = await loadModel(path, { tokenizer: bytes });
  const options = { ...scripted, maxTokens: pieces.length + 1, stopTokens: [] };
  const drawn = await plain.createSession().complete(prompt, options);
  await plain.dispose();
  if (new Set(drawn.tokens).size !== pieces.length + 1) throw new Error('the model draws a token twice');
  drawn.tokens.slice(0, -1).forEach((id, i) => script.set(id, Buffer.from(pieces[i]!)));
  const model = await loadModel(path, { tokenizer });
  try {
    await use(model, drawn.tokens);
  } finally {
    await model.dispose();
  }
}

let scripts: string | undefined;
function scriptFolder(): string {
  if (scripts === undefined) throw new Error('call useScripts() at the top of the test file');
  return scripts;
}

/** To be called where {@link withScriptedModel} is used, outside of tests. */
export function useScripts(): void {
  scripts = temporaryFolder();
}
