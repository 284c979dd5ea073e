// child-collections.ts MODE FILE: prints how often the garbage collector goes over the whole heap while something is done
// with sessions of this model, whose states are of 4 MiB.
import { PerformanceObserver, constants, type NodeGCPerformanceDetail } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { loadModel, type Model, type Session } from '../../lib/index';

const many = 100;
const kept: unknown[] = [];

const modes: Record<string, (model: Model, session: Session) => Promise<void> | void> = {
  holders(_model, session) {
    for (let i = 0; i < many; i++) kept.push(session.state, session.fork());
  },

  fresh(model) {
    for (let i = 0; i < many; i++) kept.push(model.createSession());
  },

  async branches(_model, session) {
    for (let i = 0; i < many; i++) {
      const branch = session.fork();
      await branch.evaluate([3]);
      await branch.evaluate([4]);
      branch.dispose();
    }
  },

  async calls(_model, session) {
    for (let i = 0; i < many; i++) await session.evaluate([3, 4]);
  },
};

let collections = 0;
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { kind } = Reflect.get(entry, 'detail') as NodeGCPerformanceDetail;
    if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections++;
  }
});

async function main(mode = '', path = ''): Promise<void> {
  const model = await loadModel(path, { threads: 1 });
  const session = model.createSession();
  await session.evaluate([1, 2]);
  global.gc?.();
  await setTimeout(50);
  observer.observe({ entryTypes: ['gc'] });
  await modes[mode]?.(model, session);
  await setTimeout(50);
  process.stdout.write(String(collections));
  observer.disconnect();
  await model.dispose();
}

void main(...process.argv.slice(2));
