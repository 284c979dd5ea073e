// child-sharing.ts FILE: prints by how much the process grows when a model is loaded once, twice, in a worker, and
// in a worker with other weights.
import { join } from 'node:path';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { loadModel, type LoadOptions } from '../../lib/index';

function resident(): number {
  for (let i = 0; i < 3; i++) global.gc?.();
  return process.memoryUsage.rss();
}

async function grownBy(work: () => Promise<unknown>): Promise<number> {
  const before = resident();
  await work();
  return resident() - before;
}

function loadInWorker(path: string, weights: LoadOptions['weights']): Promise<void> {
  const runner = join(__dirname, '../support/run-typescript.js');
  const worker = new Worker(runner, { argv: [__filename], workerData: [path, weights] });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

async function main(path = ''): Promise<void> {
  const models: unknown[] = [];
  const load = async (): Promise<void> => {
    const model = await loadModel(path, { weights: 'bf16' });
    await model.createSession().evaluate([1]);
    models.push(model);
  };
  const first = await grownBy(load);
  const again = await grownBy(load);
  const inWorker = await grownBy(() => loadInWorker(path, 'bf16'));
  const otherWeights = await grownBy(() => loadInWorker(path, 'f32'));
  const weightBytes = 2 * 2 * 65_536 * 64;
  process.stdout.write(JSON.stringify({ first, again, inWorker, otherWeights, weightBytes }));
  process.exit(0);
}

async function work([path, weights]: [string, LoadOptions['weights']]): Promise<void> {
  const model = await loadModel(path, { weights: weights ?? 'auto' });
  await model.createSession().evaluate([1]);
  parentPort?.postMessage('loaded');
  // The model stays until the process ends.
  setInterval(() => model.info, 1000);
}

void (isMainThread ? main(process.argv[2]) : work(workerData as [string, LoadOptions['weights']]));
