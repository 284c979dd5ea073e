import { isUtf8 } from 'node:buffer';
import { setImmediate as othersTurn } from 'node:timers/promises';
import { Option, type Command } from 'commander';
import { write } from './generation';
import { readInput } from './input';
import type { Interruption } from './interruption';
import { library } from './library';
import { vocabularyOption } from './model-options';
import { escaped, formatJson, printable, styled } from './terminal';
import type { Tokenizer } from '../tokenizer';

interface Options {
  vocabulary?: string;
  bytes?: true;
  decode?: true;
  count?: true;
  json?: true;
}

const examples = `
Standard input is taken byte for byte, a newline at its end too. With --json,
"pieces" has the text of each token, or the values of its bytes where they are
no UTF-8.

Examples:
  $ wkv tokenize 'The Eiffel tower'
  $ wkv tokenize --count < book.txt
  $ wkv tokenize --decode 6699 304 25740 109 39990`;

/** Tokens that are written at a time. */
const tokensTogether = 4096;

export function addTokenize(program: Command, interruption: Interruption): void {
  program
    .command('tokenize')
    .summary('show the tokens of a text, or the text of tokens')
    .description('Shows the tokens of a text: of each its id and its bytes. The vocabulary is RWKV World.')
    .argument('[text...]', 'the text, or with --decode ids; -, or nothing with a pipe, reads standard input')
    .addOption(vocabularyOption().conflicts('bytes'))
    .option('--bytes', 'use the vocabulary whose 256 ids are the values of bytes')
    .addOption(new Option('--decode', 'turn ids into text').conflicts('count'))
    .option('--count', 'print only how many tokens there are')
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action(async (texts: readonly string[], options: Options, command: Command) => {
      if (texts.length > 1 && options.decode !== true) {
        command.error(`error: ${texts.length} texts were given: put the one text in quotes`);
      }
      const argument = texts.length === 0 ? undefined : texts.join(' ');
      const { bytes } = await readInput(command, argument, interruption.signal);
      interruption.release();
      const tokenizer = open(options);
      if (options.decode === true) {
        decode(tokenizer, readIds(bytes.toString('utf8'), tokenizer, command), options);
      } else {
        const tokens = tokenizer.encode(bytes);
        interruption.listen();
        await show(tokenizer, tokens, options, interruption.signal);
        if (process.stdout.isTTY && options.json !== true && options.count !== true)
          await write(styled('dim', `${tokens.length} tokens, ${bytes.length} bytes\n`), interruption.signal);
      }
    });
}

function open({ vocabulary, bytes }: Options): Tokenizer {
  const { Tokenizer } = library();
  if (bytes === true) return Tokenizer.bytes();
  return vocabulary === undefined ? Tokenizer.world() : Tokenizer.fromVocabulary(vocabulary);
}

async function show(
  tokenizer: Tokenizer,
  tokens: Uint32Array,
  { count, json }: Options,
  signal: AbortSignal,
): Promise<void> {
  const bytesOf = (token: number): Uint8Array => tokenizer.decodeBytes([token]);
  if (count === true) {
    await write(json === true ? formatJson({ count: tokens.length }) : `${tokens.length}\n`, signal);
  } else if (json === true) {
    await write(`{"count":${tokens.length},"tokens":[`, signal);
    await writeEach(tokens, String, ',', signal);
    await write('],"pieces":[', signal);
    await writeEach(tokens, (token) => JSON.stringify(textOrBytes(bytesOf(token))), ',', signal);
    await write(']}\n', signal);
  } else {
    const width = String(tokenizer.size - 1).length;
    const line = (token: number): string =>
      `${styled('cyan', String(token).padStart(width))}  ${escaped(bytesOf(token))}\n`;
    await writeEach(tokens, line, '', signal);
  }
}

/** A part of a character is no text. */
const textOrBytes = (bytes: Uint8Array): string | number[] =>
  isUtf8(bytes) ? Buffer.from(bytes).toString('utf8') : Array.from(bytes);

/** Writes a text for each token, no faster than they are read, until that is interrupted. */
async function writeEach(
  tokens: Uint32Array,
  text: (token: number) => string,
  separator: string,
  signal: AbortSignal,
): Promise<void> {
  for (let start = 0; start < tokens.length; start += tokensTogether) {
    await othersTurn();
    signal.throwIfAborted();
    const texts = Array.from(tokens.subarray(start, start + tokensTogether), text);
    await write(`${start === 0 ? '' : separator}${texts.join(separator)}`, signal);
  }
}

function decode(tokenizer: Tokenizer, tokens: readonly number[], { json }: Options): void {
  const bytes = Buffer.from(tokenizer.decodeBytes(tokens));
  if (json === true) {
    process.stdout.write(formatJson({ tokens, text: bytes.toString('utf8') }));
  } else if (process.stdout.isTTY) {
    process.stdout.write(`${printable(bytes.toString('utf8'))}\n`);
  } else {
    process.stdout.write(bytes);
  }
}

/** Ids between spaces or commas; brackets around them do not matter. */
function readIds(text: string, tokenizer: Tokenizer, command: Command): number[] {
  const words = text
    .trim()
    .replace(/^\[(.*)\]$/s, '$1')
    .split(/[\s,]+/)
    .filter((word) => word !== '');
  return words.map((word) => {
    const id = /^\d+$/.test(word) ? Number(word) : NaN;
    if (!(id < tokenizer.size)) {
      const shown = printable(word.slice(0, 40));
      command.error(`error: '${shown}' is no token id: they are integers from 0 to ${tokenizer.size - 1}`);
    }
    return id;
  });
}
