// child-unpacking.ts FILE FOLDER: terminates workers while they unpack this compressed model into FOLDER, the one for
// temporary files, and says how many have begun to, and what is left there.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { loadModel } from '../../lib/index';

const wanted = 5;

/**
 * What a worker has unpacked when it is terminated: in the middle of its first storage, of 15 MB. Node itself aborts the
 * process where a worker is terminated just while it makes a stream of `zlib` ("close before init"), as at the beginning
 * of each storage.
 */
const enoughBytes = 1e6;

async function main(path = '', folder = ''): Promise<void> {
  let begun = 0;
  for (let i = 0; i < 10 * wanted && begun < wanted; i++) {
    const runner = join(__dirname, '../support/run-typescript.js');
    const worker = new Worker(runner, { argv: [__filename], workerData: path });
    const over = new Promise((resolve) => worker.once('exit', resolve)).then(() => true);
    const isUnpacking = (): boolean => unpackedBytes(folder) >= enoughBytes;
    while (!isUnpacking()) if (await Promise.race([over, wait(2, false)])) break;
    begun += isUnpacking() ? 1 : 0;
    await worker.terminate();
  }
  process.stdout.write(JSON.stringify({ begun, left: readdirSync(folder) }));
}

function unpackedBytes(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Math.max(
    0,
    ...files.map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
  );
}

if (isMainThread) void main(...process.argv.slice(2));
else void loadModel(workerData as string);
