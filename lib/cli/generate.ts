import { Option, type Command } from 'commander';
import { integer, number, seed } from './arguments';
import { readInput } from './input';
import type { Interruption } from './interruption';
import { library } from './library';
import { LoadingBar } from './progress';
import { formatJson, printable } from './terminal';
import { isWeights, modelOption, vocabularyOption, weightTypes } from './model-options';
import type { FinishReason, Usage } from '../generate';
import type { Model } from '../model';

interface Options {
  model?: string;
  vocabulary?: string;
  maxTokens: number;
  temperature: number;
  topP: number;
  seed?: bigint;
  weights: string;
  threads?: number;
  json?: true;
}

/** What a generation came to; `finishReason` is 'interrupted' after Ctrl-C. */
interface Result {
  text: string;
  tokens: number[];
  finishReason: FinishReason | 'interrupted';
  usage: Usage;
  promptSeconds: number;
  decodeSeconds: number;
}

const examples = `
Standard output gets the text and nothing else. Of a prompt from standard input,
one newline at the end is dropped.

Examples:
  $ wkv generate $'User: Tell me a story about a fox.\\n\\nAssistant:'
  $ wkv generate --model RWKV-5-World-7B.pth 'The Eiffel tower is in'
  $ wkv generate --temperature 0 --json - < prompt.txt`;

export function addGenerate(program: Command, interruption: Interruption): void {
  program
    .command('generate')
    .summary('continue a text')
    .description('Continues a text, and streams what it generates to standard output.')
    .argument('[prompt]', 'the text to continue; -, or nothing with a pipe, reads standard input')
    .addOption(modelOption())
    .option('--max-tokens <number>', 'generate at most so many tokens', integer(0), 256)
    .option('--temperature <number>', '0 always takes the most probable token', number(0, 100), 1)
    .option('--top-p <number>', 'draw among the most probable tokens up to this', number(0, 1), 0.85)
    .option('--seed <number>', 'the same seed gives the same text (default: a new one)', seed)
    .addOption(
      new Option('--weights <type>', 'keep the weights as this; auto is as the file has them')
        .choices(weightTypes)
        .default('auto'),
    )
    .option('--threads <number>', 'threads that compute (default: all usable)', integer(1, 256))
    .addOption(vocabularyOption())
    .option('--json', 'print one JSON object at the end instead of text')
    .addHelpText('after', examples)
    .allowExcessArguments()
    .action(async (prompt: string | undefined, options: Options, command: Command) => {
      await generate(prompt, options, command, interruption.signal);
    });
}

async function generate(
  argument: string | undefined,
  options: Options,
  command: Command,
  signal: AbortSignal,
): Promise<void> {
  if (command.args.length > 1) {
    const found = `${command.args.length} arguments were given, but only PROMPT is one`;
    command.error(`error: ${found}: put the text in quotes, and --model before the path of a model`);
  }
  const { bytes, piped } = await readInput(command, argument, signal);
  const prompt = piped ? withoutLastNewline(bytes) : bytes;
  if (prompt.length === 0) command.error('error: PROMPT is empty: there is nothing to continue');

  const began = performance.now();
  const model = await load(options, signal);
  const loadSeconds = secondsSince(began);
  try {
    const used = options.seed ?? library().randomSeed();
    const result = await run(model, prompt, { ...options, seed: used }, signal);
    report(result, used, loadSeconds, options);
  } finally {
    await model.dispose();
  }
  signal.throwIfAborted();
}

async function load(options: Options, signal: AbortSignal): Promise<Model> {
  const { demoModel, loadModel, Tokenizer } = library();
  const path = options.model ?? demoModel;
  const bar = new LoadingBar(path);
  try {
    return await loadModel(path, {
      signal,
      onProgress: bar.update,
      ...(isWeights(options.weights) ? { weights: options.weights } : {}),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.vocabulary === undefined
        ? {}
        : { tokenizer: Tokenizer.fromVocabulary(options.vocabulary) }),
    });
  } finally {
    bar.stop();
  }
}

/** Generates, and writes the text as it comes unless it is wanted as JSON. Ends early when it is interrupted. */
async function run(
  model: Model,
  prompt: Uint8Array,
  options: Options & { seed: bigint },
  signal: AbortSignal,
): Promise<Result> {
  const tokens = encode(model, prompt);
  const { maxTokens, temperature, topP } = options;
  const result: Result = {
    text: '',
    tokens: [],
    finishReason: 'interrupted',
    usage: { promptTokens: tokens.length, completionTokens: 0 },
    promptSeconds: 0,
    decodeSeconds: 0,
  };
  const session = model.createSession();
  const began = performance.now();
  let first: number | undefined;
  try {
    for await (const part of session.generate(tokens, {
      maxTokens,
      temperature,
      topP,
      seed: options.seed,
      signal,
    })) {
      first ??= performance.now();
      result.text += part.text;
      result.tokens.push(...part.tokens);
      result.finishReason = part.finishReason ?? result.finishReason;
      result.usage.completionTokens += part.tokens.length;
      if (options.json !== true && part.text !== '') await write(part.text);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  result.promptSeconds = ((first ?? performance.now()) - began) / 1000;
  result.decodeSeconds = first === undefined ? 0 : secondsSince(first);
  return result;
}

function encode(model: Model, prompt: Uint8Array): Uint32Array {
  const { WkvError } = library();
  if (model.tokenizer === undefined) {
    throw new WkvError(
      'ERR_WKV_TOKEN',
      `no tokenizer is known for a model of ${model.info.vocabulary} ids: give its vocabulary with --vocabulary FILE`,
    );
  }
  return model.tokenizer.encode(prompt);
}

/** Writes text, and waits for a reader that is slower than the model. */
async function write(text: string): Promise<void> {
  const { stdout } = process;
  const ready = stdout.write(stdout.isTTY ? printable(text) : text);
  if (ready || stdout.destroyed) return;
  await new Promise<void>((resolve) => {
    const go = (): void => {
      stdout.off('drain', go).off('close', go);
      resolve();
    };
    stdout.on('drain', go).on('close', go);
  });
}

function report(result: Result, seed: bigint, loadSeconds: number, { json }: Options): void {
  const { text, tokens, finishReason, usage, promptSeconds, decodeSeconds } = result;
  // The first token comes out of the prompt.
  const tokensPerSecond = decodeSeconds > 0 ? Math.max(0, tokens.length - 1) / decodeSeconds : null;
  if (json === true) {
    const timings = { loadSeconds, promptSeconds, decodeSeconds, tokensPerSecond };
    // As text, because a seed may be larger than what numbers of JSON are good for.
    process.stdout.write(formatJson({ text, tokens, finishReason, seed: String(seed), usage, timings }));
    return;
  }
  if (text !== '' && !text.endsWith('\n')) process.stdout.write('\n');
  if (process.stderr.isTTY) {
    const speed = tokensPerSecond === null ? '' : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
    const counts = `${usage.promptTokens} + ${usage.completionTokens} new tokens`;
    process.stderr.write(`[${counts}${speed}; ${finishReason}; --seed ${seed}]\n`);
  }
}

function withoutLastNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}
