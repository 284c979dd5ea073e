import { Worker } from 'node:worker_threads';

/** Each thread's part, and all of them together, are larger than the caches of common processors. */
const minBytesPerThread = 32 * 2 ** 20;
const minBytesInAll = 512 * 2 ** 20;
/** More do not get more out of the memory. */
const maxThreads = 32;
const milliseconds = 200;

// Looks for a byte that does not occur: memchr of the C library, which reads all memory once. All threads begin
// together, when each has filled (and so really got) its memory.
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  const memory = Buffer.alloc(workerData.bytes, 1);
  parentPort.on('message', () => {
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

/** Threads with memory of their own, for measuring again and again. They live until {@link close}. */
export class BandwidthMeter {
  readonly #workers: readonly Worker[];
  readonly #ready: Promise<unknown>;

  constructor(usableThreads: number) {
    const threads = Math.min(usableThreads, maxThreads);
    const bytes = Math.max(minBytesPerThread, Math.ceil(minBytesInAll / threads));
    const workerData = { bytes, milliseconds };
    this.#workers = Array.from({ length: threads }, () => new Worker(program, { eval: true, workerData }));
    this.#ready = Promise.all(this.#workers.map(nextMessage));
    // Whoever measures hears of it.
    this.#ready.catch(() => undefined);
  }

  /**
   * How many bytes of memory a second the threads read together: an estimate. Each thread's fastest pass counts,
   * because what else the machine does meanwhile only takes away; takes about 0.2 seconds.
   */
  async measure(): Promise<number> {
    await this.#ready;
    const speeds = this.#workers.map(nextMessage);
    for (const worker of this.#workers) worker.postMessage('begin');
    return (await Promise.all(speeds)).reduce<number>((sum, speed) => sum + Number(speed), 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** One measurement: about half a second with getting the memory. */
export async function measureMemoryBandwidth(usableThreads: number): Promise<number> {
  const meter = new BandwidthMeter(usableThreads);
  try {
    return await meter.measure();
  } finally {
    await meter.close();
  }
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const received = (message: unknown): void => {
      worker.off('error', reject);
      resolve(message);
    };
    worker.once('message', received).once('error', reject);
  });
}

/** Whether there is room to measure without getting into anybody's way. */
export function roomToMeasure(freeBytes: number): boolean {
  return freeBytes > 2 * maxThreads * minBytesPerThread;
}
