// child-ends.ts MODE FILE: how a process with models ends, or does not.
import { join } from 'node:path';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { State, loadModel, type Model } from '../../lib/index';

const long = new Uint32Array(3_000_000);

function print(text: string): void {
  process.stdout.write(text);
}

/** Generates without end in three sessions; resolves when each has delivered something. */
async function generateForever(model: Model): Promise<void> {
  await Promise.all(
    [1, 2, 3].map(async (seed) => {
      const parts = model.createSession().generate('x', { seed, maxTokens: 1e9, stopTokens: [] });
      await parts.next();
      void (async () => {
        for await (const part of parts) {
          if (part.finishReason !== undefined) print('ended');
        }
      })();
    }),
  );
}

const modes: Record<string, (path: string) => Promise<void>> = {
  async idle(path) {
    await loadModel(path);
    print('loaded');
  },

  async pending(path) {
    const model = await loadModel(path);
    void model
      .createSession()
      .evaluate(long.subarray(0, 20_000))
      .then(() => {
        print('evaluated');
      });
  },

  async exit(path) {
    const model = await loadModel(path);
    for (let i = 0; i < 4; i++) {
      void model.createSession().evaluate(long);
    }
    setTimeout(() => {
      print('exiting');
      process.exit(0);
    }, 50);
  },

  async 'exit-generating'(path) {
    await generateForever(await loadModel(path));
    print('exiting');
    process.exit(0);
  },

  async 'exit-at-once'(path) {
    // In the turn that the call is made in: the engine does not know of it yet.
    void (await loadModel(path)).createSession().evaluate(long);
    print('exiting');
    process.exit(0);
  },

  async 'exit-progress'(path) {
    await loadModel(path, {
      onProgress: () => {
        print('exiting');
        process.exit(0);
      },
    });
  },

  async uncaught(path) {
    await generateForever(await loadModel(path));
    setTimeout(() => {
      throw new Error('nobody catches this');
    }, 20);
  },

  async unhandled(path) {
    await generateForever(await loadModel(path));
    setTimeout(() => {
      void Promise.reject(new Error('nobody handles this'));
    }, 20);
  },

  async 'pending-generation'(path) {
    const model = await loadModel(path);
    void model
      .createSession()
      .complete('x', { maxTokens: 500, stopTokens: [] })
      .then(({ tokens }) => {
        print(`generated ${tokens.length}`);
      });
  },

  async 'pending-disposal'(path) {
    void (await loadModel(path)).dispose().then(() => {
      print('disposed');
    });
  },

  async 'pending-state'(path) {
    const { state } = (await loadModel(path)).createSession();
    void state
      .serializeAsync()
      .then((bytes) => State.deserializeAsync(bytes))
      .then(() => {
        print('saved and read');
      });
  },

  async 'idle-generation'(path) {
    // Begun, and not asked for more: nothing is pending.
    const model = await loadModel(path);
    const parts = model.createSession().generate('x', { maxTokens: 1e9 });
    await parts.next();
    print('paused');
  },

  'exit-loading'(path) {
    void loadModel(path);
    setImmediate(() => {
      print('exiting');
      process.exit(0);
    });
    return Promise.resolve();
  },

  async dropped(path) {
    // A session of this model remembers 10 KiB: 20,000 that nobody frees would be 200 MB.
    const model = await loadModel(path);
    const grow = async (): Promise<number> => {
      for (let i = 0; i < 10_000; i++) {
        // One that has seen something has numbers of its own.
        await model.createSession().evaluate([1], { logits: 'none' });
        if (i % 1000 === 0) {
          global.gc?.();
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      return process.memoryUsage.rss();
    };
    const before = await grow();
    const after = await grow();
    const grown = (after - before) / 2 ** 20;
    print(grown < 40 ? 'freed' : `grown by ${grown} MiB`);
  },

  async terminate(path) {
    const runner = join(__dirname, '../support/run-typescript.js');
    const worker = new Worker(runner, { argv: [__filename, 'worker', path], workerData: path });
    await new Promise((resolve) => worker.once('message', resolve));
    print(`terminated ${await worker.terminate()}`);
    const model = await loadModel(path);
    await model.createSession().evaluate([1, 2, 3]);
    await model.dispose();
  },

  async worker(path) {
    const { parentPort } = await import('node:worker_threads');
    const model = await loadModel(path);
    void model.createSession().evaluate(long);
    parentPort?.postMessage(isMainThread ? 'main' : workerData);
  },

  async using(path) {
    let session;
    {
      await using model = await loadModel(path);
      using inner = model.createSession();
      session = inner;
    }
    print(
      await session.evaluate([1]).then(
        () => 'usable',
        (error: unknown) =>
          error instanceof Error && 'code' in error && error.code === 'ERR_WKV_DISPOSED'
            ? 'disposed'
            : String(error),
      ),
    );
  },
};

const [mode = '', path = ''] = process.argv.slice(2);
void modes[mode]?.(path);
