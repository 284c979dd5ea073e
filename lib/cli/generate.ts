import type { Command } from 'commander';
import { readInput } from './input';
import type { Interruption } from './interruption';
import { receive, secondsSince, tokensPerSecond, write, type Result } from './generation';
import { library } from './library';
import { addModelOptions, load, requireTokenizer, type ModelFlags } from './model-options';
import { addSamplingOptions, refuseBans, toGenerateOptions, type SamplingFlags } from './sampling-options';
import { formatJson, printable } from './terminal';
import type { Model } from '../model';

interface Options extends ModelFlags, SamplingFlags {
  json?: true;
}

const examples = `
Standard output gets the text, a newline where it does not end with one, and
nothing else. Of a prompt from standard input, one newline at the end is dropped.

Examples:
  $ wkv generate $'User: Tell me a story about a fox.\\n\\nAssistant:'
  $ wkv generate --model RWKV-5-World-7B.pth 'The Eiffel tower is in'
  $ wkv generate --temperature 0 --json - < prompt.txt`;

export function addGenerate(program: Command, interruption: Interruption): void {
  const command = program
    .command('generate')
    .summary('continue a text')
    .description('Continues a text, and streams what it generates to standard output.')
    .argument('[prompt]', 'the text to continue; -, or nothing with a pipe, reads standard input');
  addSamplingOptions(addModelOptions(command), { maxTokens: 256, stop: 'none' })
    .option('--json', 'print one JSON object at the end instead of text')
    .addHelpText('after', examples)
    .allowExcessArguments()
    .action(async (prompt: string | undefined, options: Options) => {
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
    refuseBans(command, options, model.info.vocabulary);
    const used = options.seed ?? library().randomSeed();
    const result = await run(model, prompt, { ...options, seed: used }, signal);
    report(result, used, loadSeconds, options);
  } finally {
    await model.dispose();
  }
  signal.throwIfAborted();
}

/** Generates, and writes the text as it comes unless it is wanted as JSON. */
async function run(
  model: Model,
  prompt: Uint8Array,
  options: Options & { seed: bigint },
  signal: AbortSignal,
): Promise<Result> {
  const tokens = requireTokenizer(model).encode(prompt);
  const { seed, json } = options;
  const parts = model.createSession().generate(tokens, { ...toGenerateOptions(options), seed, signal });
  const result = await receive(parts, signal, async ({ text }) => {
    if (json !== true && text !== '') await write(process.stdout.isTTY ? printable(text) : text, signal);
  });
  // Known without the last part too, which an interrupted generation does not have.
  return { ...result, usage: { ...result.usage, promptTokens: tokens.length } };
}

function report(result: Result, seed: bigint, loadSeconds: number, { json }: Options): void {
  const { text, tokens, finishReason, usage, promptSeconds, decodeSeconds } = result;
  const speed = tokensPerSecond(result);
  if (json === true) {
    const timings = { loadSeconds, promptSeconds, decodeSeconds, tokensPerSecond: speed };
    // As text, because a seed may be larger than what numbers of JSON are good for.
    process.stdout.write(formatJson({ text, tokens, finishReason, seed: String(seed), usage, timings }));
    return;
  }
  if (text !== '' && !text.endsWith('\n')) process.stdout.write('\n');
  if (process.stderr.isTTY) {
    const fast = speed === null ? '' : `, ${speed.toFixed(1)} tokens/s`;
    const counts = `${usage.promptTokens} + ${usage.completionTokens} new tokens`;
    process.stderr.write(`[${counts}${fast}; ${finishReason}; --seed ${seed}]\n`);
  }
}

function withoutLastNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}
