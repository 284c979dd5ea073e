import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Interruption } from '../../lib/cli/interruption';
import { temporaryFolder } from '../support/model';
import { onWindows, unless } from '../support/unless';
import {
  startListening,
  expectInterrupted,
  json,
  start,
  testOnLinux,
  writeEndlessModel,
  type Outcome,
} from './support';

const folder = temporaryFolder();
let model: string;

beforeAll(async () => {
  model = await writeEndlessModel(folder);
});

/** More than any machine generates while a test runs. */
const endless = (): string[] => [
  'generate',
  '-m',
  model,
  '--temperature',
  '0',
  '--max-tokens',
  '1000000000000',
];

/** An endless generation of which some text has come already. */
async function generating(): Promise<ReturnType<typeof start>> {
  const command = start([...endless(), 'Once']);
  if (command.child.stdout !== null) await once(command.child.stdout, 'data');
  return command;
}

// There, killing a process is all that another can do, whatever the signal.
const testSignal = unless(onWindows('Windows has no signals for children'));

describe('Ctrl-C', () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    testSignal(`ends a generation after what there is (${signal})`, async () => {
      const { child, ended } = await generating();
      child.kill(signal);
      const outcome = await ended;
      expectInterrupted(outcome, signal);
      const { stdout } = outcome;
      expect(stdout.length).toBeGreaterThan(1);
      expect(stdout.at(-1)).toBe('\n'.charCodeAt(0));
    });
  }

  testSignal('leaves valid JSON of what there is', async () => {
    let outcome: Outcome | undefined;
    // It may come while the model is still being loaded; then there is nothing yet, and a longer wait is tried.
    for (let delay = 1000; (outcome?.stdout.length ?? 0) === 0 && delay < 20_000; delay *= 2) {
      const { child, ended } = start([...endless(), '--json', 'Once']);
      await wait(delay);
      child.kill('SIGINT');
      outcome = await ended;
    }
    if (outcome === undefined) throw new Error('nothing was run');
    expectInterrupted(outcome);
    const { finishReason, tokens, usage } = json(outcome);
    expect(finishReason).toBe('interrupted');
    expect(usage).toEqual({ promptTokens: 4, completionTokens: (tokens as number[]).length });
  });

  /** A command whose output nobody reads, when it waits for that. */
  async function waitingForReader(): Promise<
    ReturnType<typeof start> & { announced: (wanted: string) => Promise<void> }
  > {
    const announcing = ['announce-exit.js', 'announce-waiting.js'];
    const { child, ended } = await startListening(['tokenize', '--bytes'], ...announcing);
    const announced = (wanted: string): Promise<void> =>
      new Promise((resolve) => {
        child.on('message', (message) => {
          if (message === wanted) resolve();
        });
      });
    // This process takes in a little more, although nobody reads; then the pipe is full and stays so.
    child.stdout?.pause();
    const waits = announced('waits');
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(Buffer.alloc(1 << 22));
    await waits;
    await wait(1000);
    return { child, ended, announced };
  }

  testSignal('ends what waits for its reader', async () => {
    const { child, ended } = await waitingForReader();
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    await exited;
    child.stdout?.resume();
    expectInterrupted(await ended);
  });

  testSignal('ends it at once at the second one, after the exit handlers', async () => {
    const { child, ended, announced } = await waitingForReader();
    const [exited, interrupted] = [once(child, 'exit'), announced('interrupted')];
    child.kill('SIGINT');
    // Of two signals that a process has not taken yet, it gets one.
    await interrupted;
    child.kill('SIGINT');
    await exited;
    child.stdout?.resume();
    const { code, signal, stderr } = await ended;
    expect({ code, signal }).toEqual({ code: null, signal: 'SIGINT' });
    expect(stderr).toMatch(/^(error: interrupted\n)?exits after \d+ writes\n$/);
  });

  testSignal('ends a command that waits for standard input', async () => {
    const { child, ended } = await startListening(['generate', '-m', model]);
    child.kill('SIGINT');
    expectInterrupted(await ended);
  });

  testSignal('ends a command that has just begun to load', async () => {
    const { child, ended } = await startListening([...endless(), 'Once']);
    child.kill('SIGINT');
    expectInterrupted(await ended);
  });
});

testSignal('A terminal that is said to be gone twice ends nothing at once', () => {
  const exit = jest.spyOn(process, 'exit').mockImplementation(() => {
    throw new Error('ended at once');
  });
  const interruption = new Interruption();
  try {
    for (const signal of ['SIGHUP', 'SIGHUP'] as const) process.emit(signal, signal);
    expect(interruption.signal.aborted).toBe(true);
    expect(exit).not.toHaveBeenCalled();
  } finally {
    interruption.release();
    exit.mockRestore();
  }
});

describe('standard output', () => {
  test('may be closed by whoever reads it: the command ends without a word', async () => {
    const { child, ended } = await generating();
    child.stdout?.destroy();
    const { code, signal, stderr } = await ended;
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  });

  for (const parameters of [
    ['tokenize', '--bytes'],
    ['tokenize', '--bytes', '--json'],
  ]) {
    test(`may be closed while ${parameters.join(' ')} writes`, async () => {
      const { child, ended } = await startListening(parameters, 'announce-exit.js');
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(Buffer.alloc(1 << 22));
      if (child.stdout !== null) await once(child.stdout, 'data');
      child.stdout?.destroy();
      const { code, signal, stderr } = await ended;
      expect({ code, signal }).toEqual({ code: 0, signal: null });
      const [, writes = NaN] = /^exits after (\d+) writes\n$/.exec(stderr) ?? [];
      expect(Number(writes)).toBeLessThan(500); // of 1024 for the lines, and 2048 for JSON
    });
  }

  for (const parameters of [['tokenize', '--bytes', 'abc'], ['--help'], ['chat', '--help'], ['--version']]) {
    testOnLinux(`that is full is a failure of ${parameters.join(' ')}`, () => expectFull(parameters));
  }
});

async function expectFull(parameters: readonly string[]): Promise<void> {
  const full = openSync('/dev/full', 'w');
  try {
    const program = join(__dirname, '../support/run-typescript.js');
    const child = spawn(
      process.execPath,
      [program, join(__dirname, '../../lib/cli/main.ts'), ...parameters],
      {
        stdio: ['ignore', full, 'pipe'],
      },
    );
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
    await once(child, 'close');
    expect(child.exitCode).toBe(1);
    expect(stderr).toMatch(/^error: standard output cannot be written to: ENOSPC/);
  } finally {
    closeSync(full);
  }
}
