import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { smallShape, writeTensors } from '../support/model';
import { randomModel, type RandomModelShape, type RandomTensor } from '../support/random-model';
import { notOnLinux, unless, withoutDemoModel } from '../support/unless';

/** How a command ended, and what it wrote. */
export interface Outcome {
  code: number | null;
  /** The signal that killed it, if one did. */
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
}

interface RunOptions {
  /** What standard input holds; nothing by default. */
  input?: string | Uint8Array;
  environment?: Record<string, string>;
}

/** What Node runs as the command line. */
export const program = [
  join(__dirname, '../support/run-typescript.js'),
  join(__dirname, '../../lib/cli/main.ts'),
];

/** Runs a command to its end. One that takes over a minute is killed. */
export async function wkv(parameters: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const command = start(parameters, options.environment);
  // A command that ends without reading its input closes the pipe.
  command.child.stdin?.on('error', () => undefined);
  command.child.stdin?.end(options.input ?? '');
  return await command.ended;
}

/** A command that runs, with all its streams open. */
export function start(
  parameters: readonly string[],
  environment: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(process.execPath, [...program, ...parameters], {
    env: { ...process.env, ...environment },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  return { child, ended: outcomeOf(child) };
}

async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  await once(child, 'close');
  const { exitCode: code, signalCode: signal } = child;
  return { code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8') };
}

/** The one line of JSON that a command printed. */
export function json({ stdout }: Outcome): Record<string, unknown> {
  const text = stdout.toString('utf8');
  expect(text).toMatch(/^\{.*\}\n$/);
  return JSON.parse(text) as Record<string, unknown>;
}

/** Exit code 1, and one paragraph that says why. */
export function expectFailure({ code, signal, stderr }: Outcome, message: RegExp): void {
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toMatch(message);
}

/** A command that has ended what it did, said so, and died of the signal; after SIGTERM, as a shell says that. */
export function expectInterrupted({ code, signal, stderr }: Outcome, by: NodeJS.Signals = 'SIGINT'): void {
  const end = by === 'SIGTERM' ? { code: 143, signal: null } : { code: null, signal: by };
  expect({ code, signal, stderr }).toEqual({ ...end, stderr: 'error: interrupted\n' });
}

/**
 * Writes a random model that never ends a text by itself: the logit of token 0, the end of text, is 0, and the
 * largest of 255 random ones is above that.
 */
export async function writeEndlessModel(
  folder: string,
  shape: RandomModelShape = smallShape,
): Promise<string> {
  return await writeTensors(folder, 'endless', 'pth', endlessModel(shape));
}

export function endlessModel(shape: RandomModelShape = smallShape): RandomTensor[] {
  return randomModel(shape).map((tensor) => {
    if (tensor.name !== 'head.weight') return tensor;
    return { ...tensor, data: tensor.data.map((value, i) => (i < shape.embedding ? 0 : value)) };
  });
}

/**
 * A command that runs, from the moment on that it listens for Ctrl-C.
 *
 * @param besides other files of this folder that Node runs before it
 */
export async function startListening(
  parameters: readonly string[],
  ...besides: string[]
): Promise<ReturnType<typeof start>> {
  const required = ['announce-interrupt.js', ...besides].flatMap((name) => [
    '--require',
    join(__dirname, name),
  ]);
  const child = spawn(process.execPath, [...required, ...program, ...parameters], {
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  const ended = outcomeOf(child);
  await once(child, 'message');
  return { child, ended };
}

/** `test` where there are /proc and /dev/full. */
export const testOnLinux = unless(notOnLinux('only Linux has /proc and /dev/full'));

/** `test` where the embedded model is. */
export const testWithDemoModel = unless(withoutDemoModel);
