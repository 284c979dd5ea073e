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
    .option('--max-tokens <number>', 'generate at most so many tokens', integer(0), defaults.maxTokens)
    .option('--stop <text>', `stop before this text; may be given again (default: ${defaults.stop})`, stops)
    .option('--temperature <number>', 'how even the odds are, 0 for none (default: 1)', number(0, 100))
    .option('--top-p <number>', 'only the most probable up to this (default: 0.85)', number(0, 1))
    .option('--top-k <number>', 'only so many of the most probable (default: all)', integer(0, 2 ** 32 - 1))
    .option('--min-p <number>', 'only those so many times as probable as the first', number(0, 1))
    .option('--typical-p <number>', 'only about as probable as expected, up to this', aboveZero)
    .option('--presence-penalty <number>', 'against what was generated already', number(-100, 100))
    .option('--frequency-penalty <number>', 'the same for each time that it was', number(-100, 100))
    .option('--penalty-decay <number>', 'how that fades with each token', number(0, 1))
    .option('--ban <ids>', 'never generate these tokens, ids with commas; may be given again', tokens)
    .option('--seed <number>', 'the same seed gives the same text (default: a new one)', seed);
}

const shared = [
  ...(['maxTokens', 'temperature', 'topP', 'topK', 'minP', 'typicalP'] as const),
  ...(['presencePenalty', 'frequencyPenalty', 'penaltyDecay', 'stop'] as const),
] as const;

/** The options of `generate`, without the seed, whose use the command decides. */
export function toGenerateOptions(flags: SamplingFlags): GenerateOptions {
  const given = shared.filter((key) => flags[key] !== undefined).map((key) => [key, flags[key]] as const);
  const options: GenerateOptions = Object.fromEntries(given);
  return flags.ban === undefined ? options : { ...options, bannedTokens: flags.ban };
}

/** A text as it is typed: shells make it hard to give a newline. */
function stops(text: string, before: string[] = []): string[] {
  const names: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\' };
  const stop = text.replace(/\\([nrt\\])/g, (_, name: string) => names[name] ?? name);
  const length = Buffer.byteLength(stop);
  if (length === 0 || length > 4096) throw new InvalidArgumentError('It has to be 1 to 4096 bytes of text.');
  return [...before, stop];
}

function tokens(text: string, before: number[] = []): number[] {
  return [...before, ...text.split(',').map((id) => integer(0, 2 ** 32 - 1)(id.trim()))];
}

function aboveZero(text: string): number {
  const value = number(0, 1)(text);
  if (value === 0) throw new InvalidArgumentError('It has to be a number above 0, up to 1.');
  return value;
}
