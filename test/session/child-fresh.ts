// child-fresh.ts FILE PRECISION COUNT: prints by how many bytes so many sessions that have seen nothing raise the
// resident memory.
import { loadModel, type StatePrecision } from '../../lib/index';
import { resident } from '../support/resident';

async function main(path: string, precision: string, count: number): Promise<void> {
  const model = await loadModel(path, { statePrecision: precision as StatePrecision });
  model.createSession().dispose();
  const before = await resident();
  const sessions = Array.from({ length: count }, () => model.createSession());
  process.stdout.write(String((await resident()) - before));
  sessions[0]?.dispose();
  await model.dispose();
}

const [path = '', precision = '', count = ''] = process.argv.slice(2);
void main(path, precision, Number(count));
