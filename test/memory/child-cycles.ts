// child-cycles.ts MODE FILE: makes models or sessions and gets rid of them, again and again, and prints by how much the
// resident memory grew over the second half of the cycles, and how much those would have kept: { grown, kept }.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate } from 'node:timers/promises';
import { demoModel, loadModel, type Model, type Session } from '../../lib/index';
import { resident } from '../support/resident';

/** By how much the process grows in the second half of these cycles; in the first it fills what it keeps for reuse. */
async function growth(
  cycles: number,
  cycle: () => Promise<unknown>,
): Promise<{ grown: number; cycles: number }> {
  const run = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await cycle();
      // Finalizers run between turns.
      if (i % 50 === 49) {
        global.gc?.();
        await setImmediate();
      }
    }
  };
  await run(cycles / 2);
  const before = await resident();
  await run(cycles / 2);
  return { grown: (await resident()) - before, cycles: cycles / 2 };
}

async function makeSession(model: Model): Promise<void> {
  const session = model.createSession();
  await session.evaluate('once', { logits: 'none' });
  session.fork().dispose();
  session.dispose();
}

const modes: Record<string, (path: string) => Promise<{ grown: number; kept: number }>> = {
  async 'disposed models'(path) {
    let bytes = 0;
    const { grown, cycles } = await growth(1000, async () => {
      const model = await loadModel(path, { threads: 2 });
      bytes = model.info.weightBytes;
      await model.createSession().evaluate([1, 2], { logits: 'none' });
      await model.dispose();
    });
    return { grown, kept: cycles * bytes };
  },

  async 'sessions of disposed models'() {
    const sessions: Session[] = [];
    let bytes = 0;
    const { grown, cycles } = await growth(200, async () => {
      const model = await loadModel(demoModel, { threads: 1 });
      bytes = 20 * model.info.stateBytes;
      for (let i = 0; i < 20; i++) sessions.push(model.createSession());
      await model.dispose();
    });
    return { grown, kept: cycles * bytes };
  },

  async 'dropped models'(path) {
    let bytes = 0;
    const { grown, cycles } = await growth(500, async () => {
      const model = await loadModel(path, { threads: 2 });
      bytes = model.info.weightBytes;
      await model.createSession().evaluate([1, 2], { logits: 'none' });
    });
    return { grown, kept: cycles * bytes };
  },

  async 'disposed sessions'() {
    const model = await loadModel(demoModel, { threads: 1 });
    const { grown, cycles } = await growth(1000, () => makeSession(model));
    return { grown, kept: cycles * 2 * model.info.stateBytes };
  },

  async 'sessions with seven calls'() {
    const model = await loadModel(demoModel, { threads: 1 });
    const { grown, cycles } = await growth(1000, async () => {
      const session = model.createSession();
      const calls = [1, 2, 3, 4, 5].map((token) => session.evaluate([token], { logits: 'none' }));
      const controller = new AbortController();
      calls.push(session.evaluate([6, 7, 8], { logits: 'none', signal: controller.signal }));
      controller.abort();
      await Promise.allSettled([...calls, session.fork().complete('x', { maxTokens: 2 })]);
    });
    return { grown, kept: cycles * 2 * model.info.stateBytes };
  },

  async 'generations that are left'() {
    const model = await loadModel(demoModel, { threads: 1 });
    const fails = new Error('a failure of the loop');
    const { grown, cycles } = await growth(1000, async () => {
      for await (const part of model.createSession().generate('once')) if (part.text !== '') break;
      for await (const part of model.createChat().send('Hi!')) if (part.text !== '') break;
      const failing = async (): Promise<never> => {
        for await (const { text } of model.createSession().generate('once')) if (text !== '') throw fails;
        throw new Error('nothing came');
      };
      await failing().catch(() => undefined);
    });
    return { grown, kept: cycles * 3 * model.info.stateBytes };
  },

  async 'generations that their own options reach'() {
    const model = await loadModel(demoModel, { threads: 1 });
    const stored = new AsyncLocalStorage<{ iterator?: unknown }>();
    const { grown, cycles } = await growth(600, async () => {
      const prompt = 'once';
      const stopping = new AbortController();
      const reaching = model.createSession().generate(prompt, {
        ...{ maxTokens: 2, signal: stopping.signal },
        onProgress: () => void reaching.return(),
      });
      stopping.signal.addEventListener('abort', () => void reaching.return());
      for await (const part of reaching) if (part.text === '') stopping.abort();
      await stored.run({}, async () => {
        const iterator = model.createSession().generate(prompt, { maxTokens: 2 });
        Object.assign(stored.getStore() ?? {}, { iterator });
        for await (const part of iterator) if (part.text !== '') break;
      });
    });
    return { grown, kept: cycles * 2 * model.info.stateBytes };
  },

  async 'dropped sessions, uncollected'() {
    // No collection is asked for: it must come by itself, because the collector knows what sessions take.
    const model = await loadModel(demoModel, { threads: 1 });
    const before = process.memoryUsage.rss();
    let most = 0;
    const count = 3000;
    for (let i = 0; i < count; i++) {
      // With numbers of its own, which it has once it has seen something.
      await model.createSession().evaluate([1], { logits: 'none' });
      if (i % 100 === 0) {
        await setImmediate();
        most = Math.max(most, process.memoryUsage.rss());
      }
    }
    return { grown: most - before, kept: count * model.info.stateBytes };
  },

  async 'dropped states, uncollected'() {
    const model = await loadModel(demoModel, { threads: 1 });
    const session = model.createSession();
    const before = process.memoryUsage.rss();
    let most = 0;
    const count = 5000;
    for (let i = 0; i < count; i++) {
      // A new state each time: a state is copied on write.
      await session.evaluate([1], { logits: 'none' });
      session.state.values().fill(0, 0, 1);
      if (i % 100 === 0) most = Math.max(most, process.memoryUsage.rss());
    }
    return { grown: most - before, kept: count * model.info.stateBytes };
  },
};

async function main(mode = '', path = ''): Promise<void> {
  process.stdout.write(JSON.stringify(await modes[mode]?.(path)));
}

void main(...process.argv.slice(2));
