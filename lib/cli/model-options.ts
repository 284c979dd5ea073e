import { Option, type Command } from 'commander';
import { device, integer, path as readPath } from './arguments';
import { library } from './library';
import { LoadingBar } from './progress';
import { printable } from './terminal';
import type { Device } from '../device';
import type { Model } from '../model';
import { precisions, type Precision } from '../quantized';
import { maxThreads } from '../threads';

/** What loadModel takes. */
export const modelFiles = 'a .pth, .safetensors, .st, .gguf or .bin file, or a Hugging Face directory';

/** What {@link addModelOptions} reads from the command line. */
export interface ModelFlags {
  model?: string;
  weights: 'auto' | Precision;
  device?: Device;
  threads?: number;
  vocabulary?: string;
}

/** Adds the options that say which model is used, and how. */
export function addModelOptions(command: Command): Command {
  return addLoadOptions(command).addOption(vocabularyOption());
}

/** The same without a vocabulary: for commands that have nothing to do with text. */
export function addLoadOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-m, --model <file>', `${modelFiles} (default: the embedded demonstration model)`).argParser(
        readPath,
      ),
    )
    .addOption(
      new Option(
        '--weights <type>',
        'keep the weights as this; auto is what a packed file has, int8 for large models, f32 for small ones',
      )
        .choices(['auto', ...precisions])
        .default('auto'),
    )
    .option(
      '--device <name>',
      "cpu, cuda or cuda:1 and so on (default: auto, a GPU if the model would be in int8 anyway, there is room, and wkv's CUDA backend is installed; else cpu)",
      device,
    )
    .option('--threads <number>', 'threads that compute (default: all usable)', integer(1, maxThreads));
}

/** Refuses arguments, for a command that has none: who gives one, most likely means a model. */
export function refuseArguments(command: Command): void {
  if (command.args.length === 0) return;
  command.error(`error: ${command.name()} takes no arguments: put --model before the path of a model`);
}

export function vocabularyOption(): Option {
  const what = 'a vocabulary in the format of rwkv_vocab_v20230424.txt';
  return new Option('--vocabulary <file>', what).argParser(readPath);
}

/** Loads the model, with a bar on a terminal if that takes a while. */
export async function load(flags: ModelFlags, signal: AbortSignal): Promise<Model> {
  const { demoModel, loadModel, native, Tokenizer } = library();
  const { note, selected } = native.features();
  if (note !== '') process.stderr.write(`${printable(note)}; ${selected} is used\n`);
  const path = flags.model ?? demoModel;
  const bar = new LoadingBar(path);
  try {
    return await loadModel(path, {
      signal,
      onProgress: bar.update,
      weights: flags.weights,
      device: flags.device,
      threads: flags.threads,
      tokenizer: flags.vocabulary === undefined ? undefined : Tokenizer.fromVocabulary(flags.vocabulary),
    });
  } finally {
    bar.stop();
  }
}

/** The model's tokenizer, without which there is no text. */
export function requireTokenizer({ tokenizer, info }: Model): NonNullable<Model['tokenizer']> {
  if (tokenizer !== undefined) return tokenizer;
  const { WkvError } = library();
  throw new WkvError(
    'ERR_WKV_TOKEN',
    `no tokenizer is known for a model of ${info.vocabulary} ids: give its vocabulary with --vocabulary FILE`,
  );
}
