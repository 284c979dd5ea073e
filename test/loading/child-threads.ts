// child-threads.ts FILE: prints how many threads a model may use by default, and how many the pool has when it does.
import { readdirSync } from 'node:fs';
import { loadModel } from '../../lib/index';
import { usableThreads } from '../../lib/threads';

const threads = (): number => readdirSync('/proc/self/task').length;

async function main(path = ''): Promise<void> {
  // One thread is no pool: the first model shows what everything else takes.
  const alone = await loadModel(path, { threads: 1 });
  await alone.createSession().evaluate(new Uint32Array(500));
  const before = threads();
  const model = await loadModel(path);
  await model.createSession().evaluate(new Uint32Array(500));
  const engine = 1;
  process.stdout.write(JSON.stringify({ usable: usableThreads(), workers: threads() - before - engine }));
  await Promise.all([alone.dispose(), model.dispose()]);
}

void main(...process.argv.slice(2));
