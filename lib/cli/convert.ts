import { Option, type Command } from 'commander';
import { integer, outputPath, path } from './arguments';
import type { Interruption } from './interruption';
import { library } from './library';
import { modelFiles } from './model-options';
import { LoadingBar } from './progress';
import { formatJson, printable } from './terminal';
import { formatBytes } from '../format-bytes';
import { precisions, type Precision } from '../quantized';
import { maxThreads } from '../threads';

interface Options {
  weights: Precision;
  threads?: number;
  force?: true;
  json?: true;
}

const examples = `
With int8 or int4, the file is packed: it is used in place, loads in a moment,
and processes share its memory. The model's answers are those of the original
with the same --weights.

With f32, f16 or bf16, it is a plain .safetensors of all tensors, with the names
of the original RWKV releases. f32 is exact; f16 and bf16 are rounded, and
numbers too large for f16 are refused.

What was at OUT stays until the new file is whole: it is written beside it as
wkv-*.part. Of a conversion that was killed, such a file may be left; delete it.

Examples:
  $ wkv convert RWKV-5-World-7B.pth eagle.int8.safetensors
  $ wkv convert --weights int8 --force model/ eagle.int8.safetensors
  $ wkv convert --weights bf16 model/ eagle.safetensors`;

export function addConvert(program: Command, interruption: Interruption): void {
  program
    .command('convert')
    .summary('write a model as one file: quantized, to load in a moment, or plain')
    .description('Writes a model as one .safetensors file: quantized, to load in a moment, or plain.')
    .argument('<in>', modelFiles, path)
    .argument('<out>', 'the .safetensors file to write', outputPath)
    .addOption(
      new Option('--weights <type>', 'write the weights as this').choices(precisions).default('int8'),
    )
    .option('--threads <number>', 'threads that compute (default: all usable)', integer(1, maxThreads))
    .option('--force', 'replace OUT if it is there')
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action(async (input: string, output: string, options: Options) => {
      const { json, ...rest } = options;
      const conversion = await convert(input, output, rest, interruption.signal);
      process.stdout.write(
        json === true
          ? formatJson(conversion)
          : `${printable(conversion.path)}: ${conversion.weights}, ${formatBytes(conversion.bytes)}\n`,
      );
    });
}

async function convert(
  input: string,
  output: string,
  { weights, threads, force }: Options,
  signal: AbortSignal,
) {
  const bar = new LoadingBar(output);
  try {
    return await library().convertModel(input, output, {
      ...{ weights, threads, overwrite: force === true, onProgress: bar.update, signal },
    });
  } finally {
    bar.stop();
  }
}
