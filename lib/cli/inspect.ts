import { loadavg } from 'node:os';
import type { Command } from 'commander';
import { path as readPath } from './arguments';
import type { Interruption } from './interruption';
import { library } from './library';
import { modelFiles } from './model-options';
import { readCeiling } from './read-ceiling';
import { formatCount, formatJson, printable, styled, table } from './terminal';
import { chatTemplateKey } from '../formats/chat-template';
import { bytesOfToken, commonType, isSetByMemory, storedBytes } from './weights';
import type { Device } from '../device';
import { formatBytes } from '../format-bytes';
import type { TensorDirectory } from '../formats';
import type { NativeModelInfo } from '../native';
import { isQuantized, precisions, type Precision } from '../quantized';
import { defaultTemplate } from '../chat/templates';

const examples = `
Of the file, only headers are read. The speed is an upper limit: each generated
token reads all weights but the embedding: tokens/s <= memory bandwidth / those
bytes. The bandwidth is an estimate. It is measured: all threads together read
512 MiB for up to half a second. With less than 1 GiB free, it is not measured.
On a GPU, what fits has room for a session, too.

Examples:
  $ wkv inspect RWKV-5-World-7B.pth
  $ wkv inspect --json model.safetensors`;

interface Choice {
  weights: Precision;
  bytes: number;
  fits: boolean;
  /** The GPUs with room for it and a session. */
  fitsOn: readonly Device[];
  bytesPerToken: number;
  /** Null where memory does not set it, or was not measured. */
  maxTokensPerSecond: number | null;
}

type Report = Awaited<ReturnType<typeof inspect>>;

export function addInspect(program: Command, interruption: Interruption): void {
  program
    .command('inspect')
    .summary('say what a model file is, whether it fits, and how fast it can be')
    .description('Says what a model file is, whether it fits into memory here, and how fast it can be.')
    .argument('[file]', `${modelFiles} (default: the embedded model)`, readPath)
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action(async (file: string | undefined, { json }: { json?: true }) => {
      const report = await inspect(file ?? library().demoModel, interruption.signal);
      process.stdout.write(json === true ? formatJson(report) : describe(report));
    });
}

async function inspect(path: string, signal: AbortSignal) {
  const { openTensorDirectory, fromNative, kernels, native, usableMemory, usableThreads } = library();
  const directory = await openTensorDirectory(path, { signal, headersOnly: true });
  try {
    const model = native.inspectModel(directory, {});
    const free = usableMemory();
    const threads = usableThreads();
    signal.throwIfAborted();
    const bandwidth = await readCeiling(threads);
    signal.throwIfAborted();
    const { cuda } = kernels.features();
    const gpus = cuda.available ? cuda.devices : [];
    const stored = storedBytes(directory);
    const storedAs = directory.packed?.weights ?? commonType(directory);
    const possible = directory.packed === undefined ? precisions : [directory.packed.weights];
    const choices = possible.map((weights): Choice => {
      const info = native.inspectModel(directory, { weights });
      const bytesPerToken = bytesOfToken(directory, info);
      const onGpu = isQuantized(weights) ? info.weightBytes + info.stateBytes : Infinity;
      const fitsOn = gpus.filter(({ freeMemory }) => onGpu <= freeMemory).map(({ device }) => device);
      return {
        ...{ weights, bytes: info.weightBytes, fits: info.weightBytes <= free, fitsOn, bytesPerToken },
        maxTokensPerSecond:
          bandwidth !== null && isSetByMemory(bytesPerToken) ? bandwidth / bytesPerToken : null,
      };
    });
    return {
      path,
      format: directory.format,
      files: directory.files
        .filter((file) => !file.temporary)
        .map((file) => ({ path: file.path, bytes: file.size })),
      ...dimensions(model),
      storedAs,
      stored,
      auto: model.weights,
      tokenizer: tokenizerOf(path, model.vocabulary, directory.vocabulary),
      chatTemplate: directory.metadata[chatTemplateKey] ?? null,
      memory: { freeBytes: free, threads, bytesPerSecond: bandwidth },
      gpus: gpus.map(({ device, name, freeMemory }) => ({ device, name, freeBytes: freeMemory })),
      choices,
    };
  } catch (error) {
    throw fromNative(error, { path }, directory.ownName);
  } finally {
    await directory.close();
  }
}

function dimensions(model: NativeModelInfo) {
  const { architecture, version, layers, embedding, heads, headSize } = model;
  const { feedForward, vocabulary, parameters, stateBytes } = model;
  return {
    ...{ architecture, version, layers, embedding, heads, headSize },
    ...{ feedForward, vocabulary, parameters, stateBytes },
  };
}

/** How many ids the tokenizer has that loading would find; null where it would find none. */
function tokenizerOf(
  path: string,
  vocabulary: number,
  own: TensorDirectory['vocabulary'],
): { ids: number } | null {
  const tokenizer = library().findTokenizer(path, vocabulary, own);
  return tokenizer === undefined ? null : { ids: tokenizer.size };
}

function describe(report: Report): string {
  const { layers, embedding, heads, headSize, feedForward, vocabulary, tokenizer, memory } = report;
  const total = report.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const files = report.files.length === 1 ? '' : `, ${report.files.length} files`;
  const stored = Object.entries(report.stored).map(([type, bytes]) => `${formatBytes(bytes)} ${type}`);
  const rows: [string, string][] = [
    ['file', `${printable(report.path)} (${report.format}${files}, ${formatBytes(total)})`],
    [
      'model',
      `RWKV ${report.version} (${report.architecture}), ${formatCount(report.parameters)} parameters`,
    ],
    ['dimensions', `${layers} layers, embedding ${embedding}, feed-forward ${feedForward}`],
    ['heads', `${heads} of ${headSize}`],
    ['vocabulary', `${formatCount(vocabulary)} ids; ${tokenizerText(tokenizer)}`],
    ['stored', stored.join(', ')],
    ['session', `${formatBytes(report.stateBytes)} of state, however long the text`],
    ['chats', chatsText(report)],
    ['memory here', `${formatBytes(memory.freeBytes)} free`],
    ['its speed', bandwidthText(memory)],
    ...report.gpus.map(({ device, name, freeBytes }): [string, string] => [
      device,
      `${printable(name)}, ${formatBytes(freeBytes)} free`,
    ]),
  ];
  return `${table(rows)}\n${choiceTable(report)}`;
}

/** Which of the package's templates is used, and the first line of the file's own. */
function chatsText({ version, chatTemplate }: Report): string {
  const used = `written as '${defaultTemplate(version, chatTemplate ?? undefined)}'`;
  if (chatTemplate === null) return `${used}; the file has no template of its own`;
  const [first = ''] = chatTemplate.trim().split('\n');
  const text = first.length > 60 ? `${first.slice(0, 57)}...` : first;
  return `${used}; the file's own template is ${printable(text)} (--json shows all of it)`;
}

function tokenizerText(tokenizer: Report['tokenizer']): string {
  return tokenizer === null
    ? 'no tokenizer found (wkv generate --vocabulary FILE)'
    : `tokenizer of ${formatCount(tokenizer.ids)} ids`;
}

function bandwidthText({ bytesPerSecond, threads }: Report['memory']): string {
  if (bytesPerSecond === null) return 'not measured: too little is free';
  const speed = (bytesPerSecond / 1e9).toFixed(1);
  // On Windows it is always 0.
  const busy = (loadavg()[0] ?? 0) > threads ? ' (busy now: perhaps more)' : '';
  return `${threads === 1 ? '1 thread reads' : `${threads} threads read`} about ${speed} GB/s${busy}`;
}

function choiceTable({ choices, storedAs, auto }: Report): string {
  const cells = choices.map(({ weights, bytes, fits, fitsOn, maxTokensPerSecond }) => [
    `${weights}${weights === storedAs ? ' (as stored)' : ''}${weights === auto ? ' (auto)' : ''}`,
    formatBytes(bytes),
    [fits ? 'yes' : 'no', ...fitsOn].join(', '),
    maxTokensPerSecond === null
      ? 'not set by memory'
      : `at most about ${significant(maxTokensPerSecond)} tokens/s`,
  ]);
  const all = [['weights', 'memory', 'fits', 'decoding, one session'], ...cells];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return lines.map((line, row) => `${row === 0 ? styled('dim', line) : line}\n`).join('');
}

/** Two digits that count: an estimate has no more. */
function significant(value: number): string {
  return String(Number(value.toPrecision(2)));
}
