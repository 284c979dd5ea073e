import { Worker } from 'node:worker_threads';

/** Each thread's part, and all of them together, are larger than the caches of common processors. */
const leastBytesOfThread = 32 * 2 ** 20;
const leastBytesInAll = 512 * 2 ** 20;
/** More do not get more out of the memory. */
const mostThreads = 32;
const milliseconds = 200;

// Looks for a byte that does not occur: memchr of the C library, which reads all memory once. All threads begin
// together, when each has filled (and so really got) its memory.
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  const memory = Buffer.alloc(workerData.bytes, 1);
  parentPort.once('message', () => {
    const began = performance.now();
    let fastest = 0;
    do {
      const start = performance.now();
      memory.indexOf(0);
      fastest = Math.max(fastest, memory.length / ((performance.now() - start) / 1000));
    } while (performance.now() - began < workerData.milliseconds);
    parentPort.postMessage(fastest);
  });
  parentPort.postMessage('ready');`;

/**
 * How many bytes of memory a second the threads read together: an estimate. Each thread's fastest pass counts,
 * because what else the machine does meanwhile only takes away; all of it takes about half a second.
 */
export async function measureMemoryBandwidth(usableThreads: number): Promise<number> {
  const threads = Math.min(usableThreads, mostThreads);
  const bytes = Math.max(leastBytesOfThread, Math.ceil(leastBytesInAll / threads));
  const workerData = { bytes, milliseconds };
  const workers = Array.from({ length: threads }, () => new Worker(program, { eval: true, workerData }));
  try {
    await Promise.all(workers.map(nextMessage));
    const speeds = workers.map(nextMessage);
    for (const worker of workers) worker.postMessage('begin');
    return (await Promise.all(speeds)).reduce<number>((sum, speed) => sum + Number(speed), 0);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
}

/** Whether there is room to measure without getting into anybody's way. */
export function roomToMeasure(freeBytes: number): boolean {
  return freeBytes > 2 * mostThreads * leastBytesOfThread;
}
