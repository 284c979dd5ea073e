import { onAbort } from '../abort';
import type { Chat } from '../chat';
import type { ChatPart } from '../chat/reply';
import type { FinishReason, GeneratedPart, Usage } from '../generate';

/** What a generation came to; `finishReason` is 'interrupted' after Ctrl-C. */
export interface Result {
  text: string;
  tokens: number[];
  finishReason: FinishReason | 'interrupted';
  usage: Usage;
  /** How many tokens came in the first part that had any. */
  firstTokens: number;
  /** Until that part, and from there to the end. */
  promptSeconds: number;
  decodeSeconds: number;
}

/**
 * Receives a generation, and hands each part on as it comes. Ends early when it is interrupted: what there is then
 * counts.
 */
export async function receive<Part extends GeneratedPart>(
  parts: AsyncIterable<Part>,
  signal: AbortSignal,
  show: (part: Part) => Promise<void>,
): Promise<Result> {
  const result: Result = {
    text: '',
    tokens: [],
    finishReason: 'interrupted',
    usage: { promptTokens: 0, completionTokens: 0 },
    firstTokens: 0,
    promptSeconds: 0,
    decodeSeconds: 0,
  };
  const began = performance.now();
  let first: number | undefined;
  try {
    for await (const part of parts) {
      if (first === undefined && part.tokens.length > 0) {
        first = performance.now();
        result.firstTokens = part.tokens.length;
      }
      result.text += part.text;
      result.tokens.push(...part.tokens);
      result.finishReason = part.finishReason ?? result.finishReason;
      // Only the last part says it; where that does not come, the tokens that came count.
      result.usage = part.usage ?? { promptTokens: 0, completionTokens: result.tokens.length };
      await show(part);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  result.promptSeconds = ((first ?? performance.now()) - began) / 1000;
  result.decodeSeconds = first === undefined ? 0 : secondsSince(first);
  return result;
}

/**
 * Receives a reply like {@link receive}. How many tokens were evaluated before it is known where it is interrupted, too:
 * none where that came before they were.
 */
export async function receiveReply(
  chat: Chat,
  parts: AsyncIterable<ChatPart>,
  signal: AbortSignal,
  show: (part: ChatPart) => Promise<void>,
): Promise<Result> {
  const before = chat.lastTurn;
  const result = await receive(parts, signal, show);
  const turn = chat.lastTurn;
  if (result.finishReason !== 'interrupted' || turn === undefined || turn === before) return result;
  return { ...result, usage: { ...result.usage, promptTokens: turn.prompt.length } };
}

/** Tokens a second after the first part with any, if there were more: of that part only the end is known. */
export function tokensPerSecond({ tokens, firstTokens, decodeSeconds }: Result): number | null {
  const later = tokens.length - firstTokens;
  return later > 0 && decodeSeconds > 0 ? later / decodeSeconds : null;
}

export function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}

/** Writes text, and waits for a reader that is slower than the model, until that is interrupted. */
export async function write(text: string, signal: AbortSignal): Promise<void> {
  const { stdout } = process;
  const ready = stdout.write(text);
  if (ready || stdout.destroyed || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      stdout.off('drain', go).off('close', go);
      isOver();
      resolve();
    };
    const isOver = onAbort(signal, go);
    stdout.on('drain', go).on('close', go);
  });
}
