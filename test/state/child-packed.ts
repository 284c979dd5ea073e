// child-packed.ts PRECISION COUNT: prints by how many bytes so many sessions of the embedded model, which have all seen
// something, raise the resident memory.
import { demoModel, loadModel, type Session, type StatePrecision } from '../../lib/index';
import { resident } from '../support/resident';

async function main(precision: string, count: number): Promise<void> {
  const model = await loadModel(demoModel, { statePrecision: precision as StatePrecision });
  const use = async (session: Session): Promise<void> => {
    await session.complete('x', { maxTokens: 1 });
  };
  await use(model.createSession());
  const before = await resident();
  const sessions: Session[] = [];
  while (sessions.length < count) {
    const some = Array.from({ length: 50 }, () => model.createSession());
    await Promise.all(some.map(use));
    sessions.push(...some);
  }
  const grown = (await resident()) - before;
  process.stdout.write(String(grown));
  await Promise.all(sessions.slice(0, 1).map(use));
  await model.dispose();
}

void main(process.argv[2] ?? '', Number(process.argv[3]));
