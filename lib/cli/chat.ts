import { Option, type Command } from 'commander';
import { path } from './arguments';
import { loadChat } from './chat-files';
import { chatByLines } from './chat-lines';
import { TerminalChat } from './chat-terminal';
import type { Interruption } from './interruption';
import { addModelOptions, load, refuseArguments, requireTokenizer, type ModelFlags } from './model-options';
import { addSamplingOptions, refuseBans, toGenerateOptions, type SamplingFlags } from './sampling-options';
import { templateNames, type TemplateName } from '../chat/templates';

interface Options extends ModelFlags, SamplingFlags {
  template?: TemplateName;
  system?: string;
  load?: string;
  json?: true;
}

const aboutDemoModel =
  'This is the embedded model, which knows short stories and nothing else. Try: Tell me a story about a fox. (wkv chat --model FILE talks with another.)';

const examples = `
On a terminal /help lists what can be done besides talking: undo, other replies,
branches, saving. Without one, each line of standard input is something said to
the model, and standard output gets the replies, a line or more each, and
nothing else.

Examples:
  $ wkv chat
  $ wkv chat --model RWKV-5-World-7B.pth --system 'Answer in one sentence.'
  $ wkv chat --load evening.chat
  $ wkv chat --json < questions.txt`;

export function addChat(program: Command, interruption: Interruption): void {
  const command = program
    .command('chat')
    .summary('talk with a model')
    .description('Talks with a model: replies to what is typed, or to each line of standard input.');
  addModelOptions(command)
    .addOption(
      new Option(
        '--template <name>',
        "how conversations are written for the model (default: as its file says, else 'world', for RWKV-7 'world-v3')",
      ).choices(templateNames),
    )
    .option('--system <text>', 'what the model is to be, or to know')
    .addOption(
      new Option(
        '--load <file>',
        'go on in a conversation that /save saved (without --system and --template)',
      )
        .argParser(path)
        .conflicts(['system', 'template']),
    );
  addSamplingOptions(command, { maxTokens: 1024, stop: "the template's" })
    .option('--json', 'print one JSON object for each reply; its seed repeats what began with it')
    .addHelpText('after', examples)
    .allowExcessArguments()
    .action(async (options: Options) => {
      refuseArguments(command);
      await chat(options, command, interruption.signal);
    });
}

async function chat(options: Options, command: Command, signal: AbortSignal): Promise<void> {
  const model = await load(options, signal);
  try {
    requireTokenizer(model);
    refuseBans(command, options, model.info.vocabulary);
    const { template, system, json = false, seed } = options;
    const begun =
      options.load === undefined
        ? model.createChat({ template, system })
        : await loadChat(model, options.load);
    const sampling = toGenerateOptions(options);
    if (process.stdin.isTTY && process.stdout.isTTY && !json) {
      const hint = options.model === undefined ? aboutDemoModel : undefined;
      await new TerminalChat(begun, sampling, seed, signal, hint).run();
    } else {
      if (process.stdin.isTTY && !json)
        process.stderr.write(
          'Output is no terminal: each line is a message, without commands, until the input ends.\n',
        );
      await chatByLines(begun, sampling, seed, { json, signal });
    }
  } finally {
    await model.dispose();
  }
  signal.throwIfAborted();
}
