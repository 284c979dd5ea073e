// child-terminations.ts FILE COUNT SEED: terminates so many workers while each loads, evaluates a prompt, generates,
// or does something else with this model, at moments that the seed decides. Then the process still gives the logits
// that it gave before, and prints how many workers got as far as what they were to be terminated in.
import { join } from 'node:path';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { State, Tokenizer, loadModel, type Model } from '../../lib/index';
import { sameBits } from '../support/compare';
import { randomNumbers } from '../support/random-model';

const long = new Uint32Array(3_000_000);
const text = 'a story '.repeat(500_000);
const atOnce = 4;

/** Promises that nobody waits for: their thread is about to go. */
function forget(promise: Promise<unknown>): void {
  promise.catch(() => undefined);
}

const load = (path: string): Promise<Model> => loadModel(path, { threads: 2, tokenizer: Tokenizer.bytes() });

async function generateOn(model: Model): Promise<void> {
  for await (const part of model.createSession().generate('x', { maxTokens: 1e6, stop: 'abcdefgh' })) {
    if (part.finishReason !== undefined) return;
  }
}

/** What a worker does with its model until it is terminated. */
const phases: Record<string, (model: Model, path: string) => void> = {
  idle: () => undefined,
  load(_model, path) {
    for (let i = 0; i < 3; i++) forget(load(path));
  },
  reload(model, path) {
    // The last one gone, the weights are read again.
    forget(model.dispose().then(() => load(path)));
  },
  prompt(model) {
    for (let i = 0; i < 3; i++) forget(model.createSession().evaluate(long));
  },
  text(model) {
    for (let i = 0; i < 3; i++) forget(model.createSession().evaluate(text));
  },
  tokens(model) {
    const session = model.createSession();
    for (let i = 0; i < 3000; i++) forget(session.evaluate([i % 256], { logits: 'none' }));
  },
  generate(model) {
    for (let i = 0; i < 3; i++) forget(generateOn(model));
  },
  fork(model) {
    const session = model.createSession();
    forget(session.evaluate(long.subarray(0, 2000)));
    for (let i = 0; i < 50; i++) forget(session.fork().complete('x', { maxTokens: 1e6 }));
  },
  states(model) {
    const { state } = model.createSession();
    const bytes = state.serialize();
    for (let i = 0; i < 20; i++) {
      forget(state.serializeAsync({ precision: 'f16' }));
      forget(State.deserializeAsync(bytes));
    }
  },
  drop(_model, path) {
    // What is collected ends on another thread.
    const loadAndDrop = async (): Promise<void> => {
      for (;;) {
        await Promise.all([load(path), load(path)]);
        global.gc?.();
      }
    };
    forget(loadAndDrop());
  },
  dispose(model) {
    for (let i = 0; i < 20; i++) forget(model.createSession().evaluate(long.subarray(0, 20_000)));
    forget(model.dispose());
  },
};

async function work({ path, phase }: { path: string; phase: string }): Promise<void> {
  const model = await load(path);
  phases[phase]?.(model, path);
  parentPort?.postMessage(phase);
  // Keeps the thread, and what it has, until it is terminated.
  setInterval(() => model.info, 1000);
}

async function terminateOne(path: string, phase: string, delay: number, early: boolean): Promise<boolean> {
  const runner = join(__dirname, '../support/run-typescript.js');
  const worker = new Worker(runner, { argv: [__filename], workerData: { path, phase } });
  const failed = new Promise<never>((_resolve, reject) => worker.once('error', reject));
  const begun = new Promise<boolean>((resolve) => {
    worker.once('message', () => {
      resolve(true);
    });
  });
  const due = new Promise<boolean>((resolve) => setTimeout(resolve, delay, false));
  const reached = early ? await Promise.race([begun, due, failed]) : await Promise.race([begun, failed]);
  if (!early) await due;
  await worker.terminate();
  return reached;
}

async function main(path = '', count = '', seed = ''): Promise<void> {
  const model = await load(path);
  const before = await model.createSession().evaluate('as before');
  const random = randomNumbers(Number(seed));
  const names = Object.keys(phases);
  const reached = new Map<string, number>();
  let next = 0;
  const terminateMany = async (): Promise<void> => {
    while (next < Number(count)) {
      const phase = names[next++ % names.length] ?? '';
      // One in five is not waited for: it is terminated while it starts, or while it loads its model.
      const early = random() < 0.2;
      const delay = random() ** 3 * (early ? 200 : 20);
      if (await terminateOne(path, phase, delay, early)) reached.set(phase, (reached.get(phase) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, terminateMany));
  const after = await model.createSession().evaluate('as before');
  await model.dispose();
  process.stdout.write(
    JSON.stringify({ reached: Object.fromEntries(reached), same: sameBits(before, after) }),
  );
}

if (isMainThread) void main(...process.argv.slice(2));
else void work(workerData as { path: string; phase: string });
