// child-limit.ts MODE FILE: does something with this model that needs more memory, or files, than the process may take, and
// prints what it fails with, and whether the process goes on as before. MODE `threads` needs more threads than there are.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Sampler, State, Tokenizer, WkvError, loadModel, type Model } from '../../lib/index';

const mebi = 2 ** 20;

function setLimit(limit: string): void {
  // With the colon the limit can be lifted again.
  execFileSync('prlimit', ['--pid', String(process.pid), limit]);
}

/** From now on the process can take so many bytes more, whatever it asks for. */
function limitTo(more: number): void {
  const size = /^VmSize:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  setLimit(`--as=${Number(size) * 1024 + more}:`);
}

/** Loads a model where no more files can be opened. */
async function loadWithoutFiles(path: string): Promise<void> {
  const others: number[] = [];
  try {
    for (;;) others.push(openSync('/dev/null', 'r'));
  } catch {
    await loadModel(path);
  } finally {
    for (const each of others) closeSync(each);
  }
}

/** Each gives what is to fail. */
const modes: Record<string, (model: Model, path: string) => Promise<() => unknown>> = {
  files(_model, path) {
    setLimit('--nofile=100:');
    return Promise.resolve(() => loadWithoutFiles(path));
  },

  deserialize() {
    const bytes = new Uint8Array(256 * mebi);
    limitTo(128 * mebi);
    return Promise.resolve(() => State.deserialize(bytes));
  },

  deserializeAsync() {
    const bytes = new Uint8Array(256 * mebi);
    limitTo(128 * mebi);
    return Promise.resolve(() => State.deserializeAsync(bytes));
  },

  async values(model) {
    const session = model.createSession();
    await session.evaluate([1]);
    const { state } = session;
    limitTo(48 * mebi);
    return () => state.values();
  },

  async serialize(model) {
    const session = model.createSession();
    await session.evaluate([1]);
    const { state } = session;
    // Enough for the bytes, and not for an array of them.
    limitTo(96 * mebi);
    return () => state.serialize();
  },

  async serializeAsync(model) {
    const session = model.createSession();
    await session.evaluate([1]);
    const { state } = session;
    limitTo(96 * mebi);
    return () => state.serializeAsync();
  },

  async logits(model) {
    const session = model.createSession();
    await session.evaluate([1, 2, 3], { logits: 'all' });
    const tokens = new Uint32Array((64 * mebi) / (4 * model.info.vocabulary)).fill(1);
    // Enough for the logits, and for the state that the session keeps, and not for an array of the logits.
    limitTo(64 * mebi + 48 * mebi + model.info.stateBytes);
    return async () => {
      try {
        return await session.evaluate(tokens, { logits: 'all' });
      } finally {
        if (session.state.tokens !== 3) process.stdout.write('the session has changed: ');
      }
    };
  },

  tokens() {
    const tokenizer = Tokenizer.bytes();
    const text = new Uint8Array(48 * mebi).fill(65);
    limitTo(128 * mebi);
    return Promise.resolve(() => tokenizer.encode(text));
  },

  sample() {
    const sampler = new Sampler();
    const logits = new Float32Array(64 * mebi);
    limitTo(128 * mebi);
    return Promise.resolve(() => sampler.sample(logits));
  },
};

/** With stacks of a GiB: room for the two threads that a model must have, and for few of those it asks for. */
async function useFewThreads(path: string): Promise<void> {
  // Node starts the threads that read files when there is something to read, and ends where it has none.
  await stat(path);
  limitTo(4.5 * 1024 * mebi);
  const model = await loadModel(path, { threads: 64 });
  const logits = await model.createSession().evaluate(new Uint32Array(500));
  process.stdout.write(`${logits.length} logits`);
  await model.dispose();
}

async function main(mode = '', path = ''): Promise<void> {
  if (mode === 'threads') {
    await useFewThreads(path);
    return;
  }
  const model = await loadModel(path, { threads: 1 });
  const fail = await modes[mode]?.(model, path);
  try {
    await fail?.();
    process.stdout.write('nothing failed');
  } catch (error) {
    process.stdout.write(error instanceof WkvError ? error.code : String(error));
  }
  setLimit('--as=unlimited:');
  await model.createSession().evaluate([1, 2, 3]);
  process.stdout.write(', alive');
}

void main(...process.argv.slice(2));
