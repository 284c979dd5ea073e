import { InvalidArgumentError, type Command } from 'commander';
import { integer, number, seed } from './arguments';
import type { GenerateOptions } from '../generate';

/** What {@link addSamplingOptions} reads from the command line. */
export interface SamplingFlags {
  maxTokens: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  typicalP?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  penaltyDecay?: number;
  ban?: number[];
  stop?: string[];
  seed?: bigint;
}

/** Adds the options that say how text is generated; what is not given has the package's own defaults. */
export function addSamplingOptions(command: Command, defaults: { maxTokens: number; stop: string }): Command {
  return command
    .option('--max-tokens <number>', 'the most tokens to generate', integer(0), defaults.maxTokens)
    .option(
      '--stop <text>',
      String.raw`stop before this text, where \n is a newline; may be given again (default: ${defaults.stop})`,
      stops,
    )
    .option(
      '--temperature <number>',
      'divides the logits: higher is more random, 0 always takes the most probable token (default: 1)',
      number(0, 100),
    )
    .option(
      '--top-p <number>',
      'sample from the most probable tokens whose probabilities reach this sum (default: 0.85)',
      number(0, 1),
    )
    .option(
      '--top-k <number>',
      'sample from so many of the most probable tokens (default: all)',
      integer(0, 2 ** 32 - 1),
    )
    .option(
      '--min-p <number>',
      'drop tokens less probable than this fraction of the most probable one',
      number(0, 1),
    )
    .option('--typical-p <number>', 'locally typical sampling, up to this sum of probabilities', aboveZero)
    .option(
      '--presence-penalty <number>',
      'subtracted from the logits of tokens that were generated already (default: 0.2, for bytes 0)',
      number(-100, 100),
    )
    .option(
      '--frequency-penalty <number>',
      'subtracted once more for each time a token was generated (default: 0.2, for bytes 0)',
      number(-100, 100),
    )
    .option(
      '--penalty-decay <number>',
      'multiplies the counts of generated tokens at each token (default: 0.996)',
      number(0, 1),
    )
    .option(
      '--ban <ids>',
      'never generate these tokens: ids, separated by commas; may be given again',
      tokens,
    )
    .option('--seed <number>', 'the same seed gives the same text (default: a new one)', seed);
}

/** Refuses bans of tokens that the model does not have, which are known once it is loaded. */
export function refuseBans(command: Command, { ban = [] }: SamplingFlags, vocabulary: number): void {
  const unknown = ban.find((token) => token >= vocabulary);
  if (unknown === undefined) return;
  const invalid = `option '--ban <ids>' argument '${unknown}' is invalid`;
  command.error(`error: ${invalid}. The model has the ids 0 to ${vocabulary - 1}.`);
}

/** The options of `generate`, without the seed, whose use the command decides. */
export function toGenerateOptions(flags: SamplingFlags): GenerateOptions {
  const { maxTokens, temperature, topP, topK, minP, typicalP, stop } = flags;
  const { presencePenalty, frequencyPenalty, penaltyDecay, ban } = flags;
  return {
    ...{ maxTokens, temperature, topP, topK, minP, typicalP, stop },
    ...{ presencePenalty, frequencyPenalty, penaltyDecay, bannedTokens: ban },
  };
}

/** A text as it is typed: shells make it hard to give a newline. */
function stops(text: string, all: string[] = []): string[] {
  const names: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\' };
  const stop = text.replace(/\\([nrt\\])/g, (_, name: string) => names[name] ?? name);
  const length = Buffer.byteLength(stop);
  if (length === 0 || length > 4096) throw new InvalidArgumentError('It has to be 1 to 4096 bytes of text.');
  all.push(stop);
  return all;
}

function tokens(text: string, all: number[] = []): number[] {
  for (const id of text.split(',')) all.push(integer(0, 2 ** 32 - 1)(id.trim()));
  return all;
}

function aboveZero(text: string): number {
  const value = number(0, 1)(text);
  if (value === 0) throw new InvalidArgumentError('It has to be a number above 0, up to 1.');
  return value;
}
