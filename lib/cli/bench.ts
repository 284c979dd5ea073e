import type { Command } from 'commander';
import { integer } from './arguments';
import type { Interruption } from './interruption';
import { library } from './library';
import { measure, promptTokens, spreadOf, type Round, type Spread } from './measurements';
import { addLoadOptions, load, refuseArguments, type ModelFlags } from './model-options';
import { RoundsBar } from './progress';
import { formatCount, formatJson, printable, styled, table } from './terminal';
import { bytesOfToken, isSetByMemory } from './weights';
import { formatBytes } from '../format-bytes';
import type { Model, ModelInfo } from '../model';
import { isQuantized } from '../quantized';

interface Options extends Omit<ModelFlags, 'vocabulary'> {
  rounds: number;
  json?: true;
}

const examples = `
Each figure stands beside its ceiling, measured in the same seconds: decoding
beside how fast the threads read memory, because a token reads all weights; a
prompt beside the products and sums that they can do at most. A ratio of 1 would
be all that this machine can give. Medians of rounds, and their quartiles.

Examples:
  $ wkv bench
  $ wkv bench --model RWKV-5-World-7B.pth --weights int8
  $ wkv bench --threads 4 --json`;

type Report = Awaited<ReturnType<typeof bench>>;

export function addBench(program: Command, interruption: Interruption): void {
  const command = program
    .command('bench')
    .summary('measure how fast a model is here, beside what the machine can do')
    .description(
      'Measures how fast a model is here: decoding, prompts, sessions together, and its memory; each beside what the machine can do.',
    );
  addLoadOptions(command)
    .option('--rounds <number>', 'how often everything is measured, by turns', integer(1, 1000), 5)
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .allowExcessArguments()
    .action(async (options: Options) => {
      refuseArguments(command);
      const report = await bench(options, interruption.signal);
      process.stdout.write(options.json === true ? formatJson(report) : describe(report));
    });
}

async function bench(options: Options, signal: AbortSignal) {
  const path = options.model ?? library().demoModel;
  const threads = options.threads ?? library().usableThreads();
  const model = await load(options, signal);
  const bar = new RoundsBar(options.rounds);
  try {
    const { info } = model;
    const directory = await library().openTensorDirectory(path, { signal, headersOnly: true });
    await directory.close();
    const bytesPerToken = bytesOfToken(directory, info);
    const settings = { bytesPerToken, threads, rounds: options.rounds };
    const measured = await measure(model, settings, signal, bar.update);
    return reportOf(path, model.info, settings, measured);
  } finally {
    bar.stop();
    await model.dispose();
  }
}

function reportOf(
  path: string,
  info: ModelInfo,
  { bytesPerToken, threads, rounds }: { bytesPerToken: number; threads: number; rounds: number },
  measured: Awaited<ReturnType<typeof measure>>,
) {
  const over = (value: (round: Round) => number | null): Spread | null =>
    spreadOf(measured.rounds.map(value));
  const operations = operationsPerToken(info);
  const { architecture, version, parameters, weights, weightBytes, stateBytes, device, isa } = info;
  return {
    path,
    ...{ architecture, version, parameters, weights, weightBytes, bytesPerToken, stateBytes },
    ...{ device, isa, threads, rounds },
    memory: {
      residentBytes: measured.residentBytes,
      // On a GPU the weights are elsewhere.
      overWeightBytes: device === 'cpu' ? measured.residentBytes - weightBytes : null,
    },
    ceilings: {
      readBytesPerSecond: over(({ read }) => read),
      arithmetic: isQuantized(weights) ? 'int8' : 'f32',
      operationsPerSecond: over(({ peak }) => peak),
    },
    decode: {
      tokensPerSecond: over(({ decode }) => decode),
      bytesPerSecond: over(({ decode }) => decode * bytesPerToken),
      ofRead: over(({ decode, read }) => (read === null ? null : (decode * bytesPerToken) / read)),
    },
    prompt: {
      tokens: promptTokens,
      tokensPerSecond: over(({ prompt }) => prompt),
      operationsPerSecond: over(({ prompt }) => prompt * operations),
      ofPeak: over(({ prompt, peak }) => (peak === null ? null : (prompt * operations) / peak)),
    },
    together: {
      sessions: measured.sessions,
      tokensPerSecond: over(({ together }) => together),
      timesOne: over(({ together, decode }) => together / decode),
    },
  };
}

/**
 * A product and a sum for each weight, but for those of the embedding and, as a prompt needs its logits once, of the
 * head. Vectors are counted as well: less than a hundredth.
 */
function operationsPerToken({ parameters, vocabulary, embedding }: Model['info']): number {
  return 2 * (parameters - 2 * vocabulary * embedding);
}

function describe(report: Report): string {
  const { decode, prompt, together, ceilings, threads, rounds } = report;
  const head: [string, string][] = [
    [
      'model',
      `${printable(report.path)}: RWKV ${report.version}, ${formatCount(report.parameters)} parameters`,
    ],
    ['weights', `${report.weights}, ${formatBytes(report.weightBytes)}`],
    ['memory', memoryText(report)],
    ['session', `${formatBytes(report.stateBytes)} of state, however long the text`],
    ['measured', `${counted(rounds, 'round')}, ${report.isa}, ${counted(threads, 'thread')}`],
  ];
  const figures: [string, Spread | null, string][] = [
    ['decoding, one session', decode.tokensPerSecond, besideMemory(report)],
    [
      `prompt of ${prompt.tokens} tokens`,
      prompt.tokensPerSecond,
      beside(
        `${billions(prompt.operationsPerSecond)} billion operations/s`,
        prompt.ofPeak,
        `the ${billions(ceilings.operationsPerSecond)} that ${ceilings.arithmetic} can do`,
        'no ceiling is known',
      ),
    ],
    [
      `${together.sessions} sessions together`,
      together.tokensPerSecond,
      `${significant(together.timesOne?.median)} times one session`,
    ],
  ];
  const width = Math.max(...figures.map(([label]) => label.length));
  const lines = figures.map(([label, speed, what]) => {
    const rate = `${significant(speed?.median)} tokens/s`;
    const quartiles = `[${significant(speed?.lower)} to ${significant(speed?.upper)}]`;
    return `${styled('dim', label.padEnd(width))}  ${rate.padEnd(16)} ${quartiles.padEnd(18)} ${what}\n`;
  });
  return `${table(head)}\n${lines.join('')}`;
}

function memoryText({ memory }: Report): string {
  const resident = formatBytes(memory.residentBytes);
  return memory.overWeightBytes === null
    ? `${resident} in use beside the GPU's`
    : `${resident} in use, ${formatBytes(Math.max(0, memory.overWeightBytes))} over the weights`;
}

function besideMemory({ decode, ceilings, bytesPerToken, device, threads }: Report): string {
  return beside(
    `${billions(decode.bytesPerSecond)} GB/s of weights`,
    decode.ofRead,
    `the ${billions(ceilings.readBytesPerSecond)} that ${threads === 1 ? '1 thread reads' : `${threads} threads read`}`,
    device !== 'cpu'
      ? 'how fast a GPU reads its memory is not measured here'
      : isSetByMemory(bytesPerToken)
        ? 'the memory was not measured: too little is free'
        : 'not set by memory: so little may stay in caches',
  );
}

/** A figure with its part of its ceiling, or why there is none. */
function beside(figure: string, part: Spread | null, ceiling: string, otherwise: string): string {
  return part === null ? `${figure}; ${otherwise}` : `${figure}: ${part.median.toFixed(2)} of ${ceiling}`;
}

function billions(spread: Spread | null): string {
  return significant((spread?.median ?? NaN) / 1e9);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** Three digits that count. */
function significant(value = NaN): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}
