// child-background.ts FILE COUNT: serializes a state of this model, and reads it, so many times at once; prints how many
// threads the process has more at once then, and how many of the results are right.
import { readdirSync } from 'node:fs';
import { State, loadModel } from '../../lib/index';
import { sameBits } from '../support/compare';

const threads = (): number => readdirSync('/proc/self/task').length;

async function main(path: string, count: number): Promise<void> {
  const model = await loadModel(path, { threads: 1 });
  const session = model.createSession();
  await session.evaluate([1, 2, 3]);
  const { state } = session;
  const bytes = state.serialize({ precision: 'f16' });
  const before = threads();
  const written: Promise<Uint8Array>[] = [];
  const read: Promise<State>[] = [];
  let more = 0;
  for (let i = 0; i < count; i++) {
    written.push(state.serializeAsync({ precision: 'f16' }));
    read.push(State.deserializeAsync(bytes));
    // Each time, because they end as soon as nothing is left to do.
    more = Math.max(more, threads() - before);
  }
  let right = 0;
  for (const each of await Promise.all(written)) if (sameBits(each, bytes)) right++;
  for (const each of await Promise.all(read))
    if (sameBits(each.serialize({ precision: 'f16' }), bytes)) right++;
  process.stdout.write(JSON.stringify({ more, right }));
  await model.dispose();
}

void main(process.argv[2] ?? '', Number(process.argv[3]));
