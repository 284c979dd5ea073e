import { setTimeout } from 'node:timers/promises';

/** What stays resident, in bytes: the least of several looks, because the collector gives pages back when it likes. */
export async function resident(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 10; i++) {
    global.gc?.();
    await setTimeout(50);
    least = Math.min(least, process.memoryUsage.rss());
  }
  return least;
}
