#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { addBench } from './bench';
import { addChat } from './chat';
import { addConvert } from './convert';
import { addDoctor } from './doctor';
import { exitCode, explain } from './errors';
import { addGenerate } from './generate';
import { addInspect } from './inspect';
import { Interrupted, Interruption } from './interruption';
import { addTokenize } from './tokenize';
import { onAbort } from '../abort';

const examples = `
Examples:
  $ wkv chat
  $ wkv generate $'User: Tell me a story about a fox.\\n\\nAssistant:'
  $ wkv convert RWKV-5-World-7B.pth eagle.int8.safetensors
  $ wkv inspect RWKV-5-World-7B.pth
  $ wkv tokenize --count < book.txt
  $ wkv bench --model RWKV-5-World-7B.pth
  $ wkv doctor

Exit codes: 0 done, 1 failed, 2 wrong usage. A command that Ctrl-C ends dies of that signal (130 in a
shell), after SIGTERM it is 143.
WKV_DEBUG=1 adds the stack to an error.`;

function createProgram(interruption: Interruption): Command {
  const program = new Command('wkv')
    .description('Runs RWKV language models.')
    .version(packageVersion(), '-V, --version', 'print the version of wkv')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .addHelpText('after', examples)
    .showHelpAfterError('"wkv help" and "wkv help COMMAND" show what there is.')
    .exitOverride();
  addChat(program, interruption);
  addGenerate(program, interruption);
  addConvert(program, interruption);
  addInspect(program, interruption);
  addTokenize(program, interruption);
  addBench(program, interruption);
  addDoctor(program, packageVersion());
  addHelp(program);
  return program;
}

/** Commander's own answers an unknown name with the help of everything, and does not say that it is unknown. */
function addHelp(program: Command): void {
  program
    .command('help')
    .description('print the help of a command')
    .argument('[command]')
    .action((name?: string) => {
      const command = name === undefined ? program : program.commands.find((each) => each.name() === name);
      if (command === undefined) program.error(`error: unknown command '${name}'`);
      command.help();
    });
}

function packageVersion(): string {
  const text = readFileSync(join(__dirname, '../../package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Runs a command, and returns the process's exit code. */
async function run(argv: readonly string[], interruption: Interruption): Promise<number> {
  try {
    const code = await parse(argv, interruption);
    await flushed(process.stdout, interruption.signal);
    interruption.signal.throwIfAborted();
    return code;
  } catch (error) {
    const reason: unknown = interruption.signal.aborted ? interruption.signal.reason : error;
    if (reason instanceof Interrupted && reason.byReader) return exitCode.done;
    process.stderr.write(explain(reason));
    return exitCode.failed;
  }
}

async function parse(argv: readonly string[], interruption: Interruption): Promise<number> {
  try {
    await createProgram(interruption).parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end this way too; commander has said everything already.
    if (error.exitCode !== 0) return exitCode.wrongUsage;
  }
  return exitCode.done;
}

/** How long whoever reads the output may take for the rest of it after an interruption. */
const graceMilliseconds = 1000;

/**
 * Waits until everything is written, so that a full disk is noticed; whether it could be, the 'error' event says. After
 * an interruption that may be never: nobody has to read.
 */
function flushed(stream: NodeJS.WriteStream, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const giveUp = (): void => {
      setTimeout(resolve, graceMilliseconds).unref();
    };
    if (signal.aborted) giveUp();
    const isOver = onAbort(signal, giveUp);
    stream.write('', () => {
      isOver();
      setImmediate(resolve);
    });
  });
}

async function main(): Promise<void> {
  const interruption = new Interruption();
  process.stdout.on('error', (error: Error) => interruption.outputFailed(error));
  // There is nobody left to tell.
  process.stderr.on('error', () => undefined);
  const code = await run(process.argv, interruption);
  process.exitCode ??= code;
  if (interruption.signal.aborted) await flushed(process.stdout, interruption.signal);
  interruption.end();
  if (interruption.signal.aborted && process.stdout.writableLength > 0) process.exit();
}

void main();
