import { createInterface } from 'node:readline';
import { receiveReply, tokensPerSecond, write, type Result } from './generation';
import { standardInput } from './input';
import { formatJson, printable } from './terminal';
import type { Chat } from '../chat';
import { withoutBlankLines } from '../chat/text';
import type { GenerateOptions } from '../generate';

/** Bytes of a line. */
const maxLineBytes = 2 ** 24;

/** Replies to each line of standard input, without a word besides. */
export async function chatByLines(
  chat: Chat,
  options: GenerateOptions,
  seed: bigint | undefined,
  { json, signal }: { json: boolean; signal: AbortSignal },
): Promise<void> {
  let first = seed;
  const input = standardInput();
  const tooLong = limitLines(input);
  const either = AbortSignal.any([signal, tooLong]);
  for await (const line of createInterface({ input, crlfDelay: Infinity, signal: either })) {
    if (withoutBlankLines(line) === '') continue;
    let thinking = '';
    const given = first;
    const parts = chat.send(line, { ...options, seed: given, signal });
    const result = await receiveReply(chat, parts, signal, async (part) => {
      thinking += part.thinking ?? '';
      if (!json && part.text !== '')
        await write(process.stdout.isTTY ? printable(part.text) : part.text, signal);
    });
    first = undefined;
    if (json) await write(formatJson(report(result, thinking, given ?? chat.lastTurn?.random.seed)), signal);
    else if (!result.text.endsWith('\n')) await write('\n', signal);
    either.throwIfAborted();
  }
  either.throwIfAborted();
}

/** Is aborted once a line is longer than that: Node would gather it for as long as it goes on. */
function limitLines(input: typeof process.stdin): AbortSignal {
  const controller = new AbortController();
  let length = 0;
  input.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf('\n');
    length = end < 0 ? length + chunk.length : chunk.length - end - 1;
    if (length <= maxLineBytes) return;
    controller.abort(new Error(`a line of standard input has more than ${maxLineBytes} bytes`));
    input.destroy();
  });
  return controller.signal;
}

function report(result: Result, thinking: string, seed: bigint | undefined): object {
  const { text, tokens, finishReason, usage, promptSeconds, decodeSeconds } = result;
  return {
    text,
    ...(thinking.trim() === '' ? {} : { thinking }),
    tokens,
    finishReason,
    // As text, because a seed may be larger than what numbers of JSON are good for.
    ...(seed === undefined ? {} : { seed: String(seed) }),
    usage,
    timings: { promptSeconds, decodeSeconds, tokensPerSecond: tokensPerSecond(result) },
  };
}
