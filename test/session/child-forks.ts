// child-forks.ts FILE COUNT: prints by how many bytes so many disposed forks raise the resident memory. Each was made while
// its parent was busy, and waited for another state of it.
import { loadModel } from '../../lib/index';
import { resident } from '../support/resident';

async function main(path: string, count: number): Promise<void> {
  const model = await loadModel(path);
  const session = model.createSession();
  const forks = [];
  let before = 0;
  for (let i = 0; i <= count; i++) {
    const pending = session.evaluate([1]);
    const fork = session.fork();
    await pending;
    await new Promise(setImmediate);
    if (i === 0) before = await resident();
    else forks.push(fork);
    fork.dispose();
  }
  process.stdout.write(String((await resident()) - before));
  if (forks.length !== count) throw new Error('all forks are held');
  await model.dispose();
}

const [path = '', count = ''] = process.argv.slice(2);
void main(path, Number(count));
