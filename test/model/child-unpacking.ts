// child-unpacking.ts FILE FOLDER: terminates workers while they unpack this compressed model into FOLDER, the one for
// temporary files, and says how many have begun to, and what is left there.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { loadModel } from '../../lib/index';

const wanted = 5;

async function main(path = '', folder = ''): Promise<void> {
  let begun = 0;
  for (let i = 0; i < 10 * wanted && begun < wanted; i++) {
    const runner = join(__dirname, '../support/run-typescript.js');
    const worker = new Worker(runner, { argv: [__filename], workerData: path });
    const over = new Promise((resolve) => worker.once('exit', resolve)).then(() => true);
    const isUnpacking = (): boolean => readdirSync(folder, { recursive: true }).length > 1;
    while (!isUnpacking()) if (await Promise.race([over, wait(2, false)])) break;
    begun += isUnpacking() ? 1 : 0;
    await worker.terminate();
  }
  process.stdout.write(JSON.stringify({ begun, left: readdirSync(folder) }));
}

if (isMainThread) void main(...process.argv.slice(2));
else void loadModel(workerData as string);
