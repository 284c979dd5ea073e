// child-unpacking.ts FILE FOLDER: terminates workers while they unpack this compressed model into FOLDER, the one for
// temporary files, and says how many have begun to, and what is left there.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { loadModel } from '../../lib/index';

const wanted = 5;

/**
 * What a worker has unpacked when it waits to be terminated: in the middle of its first storage, of 15 MB. Node itself
 * aborts the process where a worker is terminated just while it makes a stream of `zlib` ("close before init"), as at the
 * beginning of each storage.
 */
const enoughBytes = 1e6;

async function main(path = '', folder = ''): Promise<void> {
  let begun = 0;
  for (let i = 0; i < wanted; i++) {
    const runner = join(__dirname, '../support/run-typescript.js');
    const worker = new Worker(runner, { argv: [__filename], workerData: { path, folder } });
    const over = new Promise<boolean>((resolve) => worker.once('exit', () => resolve(false)));
    const unpacking = new Promise<boolean>((resolve) => worker.once('message', () => resolve(true)));
    if (await Promise.race([unpacking, over])) begun++;
    await worker.terminate();
  }
  process.stdout.write(JSON.stringify({ begun, left: readdirSync(folder) }));
}

async function work({ path, folder }: { path: string; folder: string }): Promise<void> {
  // Between two pieces of what is unpacked, it stops for ever.
  setInterval(() => {
    if (unpackedBytes(folder) < enoughBytes) return;
    parentPort?.postMessage('unpacking');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }, 1);
  await loadModel(path);
  process.exit();
}

function unpackedBytes(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Math.max(
    0,
    ...files.map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
  );
}

if (isMainThread) void main(...process.argv.slice(2));
else void work(workerData as { path: string; folder: string });
