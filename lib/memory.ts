import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';
import { cgroupFolders, read } from './cgroups';

/**
 * Memory that the process may still take, in bytes: what the system has, within its cgroup's limit. What files are cached
 * in counts as free, because the system gives it back.
 */
export function usableMemory(): number {
  const limit = process.constrainedMemory();
  const within =
    limit > 0 && limit < 2 ** 60 ? limit - (cgroupUsage() ?? process.memoryUsage.rss()) : Infinity;
  return Math.max(0, Math.min(freeMemory(), within));
}

/** On Linux and Windows that counts caches as free. macOS does not tell, and compresses memory before it runs out. */
function freeMemory(): number {
  return process.platform === 'darwin' ? totalmem() : freemem();
}

/** What the processes of the cgroup have, without cached files; undefined where that is not to be read. */
function cgroupUsage(): number | undefined {
  return (
    usageOf(cgroupFolders(), 'memory.current', ['inactive_file', 'active_file']) ??
    usageOf(cgroupFolders('memory'), 'memory.usage_in_bytes', ['total_inactive_file', 'total_active_file'])
  );
}

/** The same of the first of the folders that has a file `usage`, less what the statistics call `cached`. */
function usageOf(folders: readonly string[], usage: string, cached: readonly string[]): number | undefined {
  for (const folder of folders) {
    const used = Number(read(join(folder, usage)));
    if (!(used > 0)) continue;
    const statistics = read(join(folder, 'memory.stat')).matchAll(/^(\w+) (\d+)$/gm);
    const files = [...statistics].filter(([, name = '']) => cached.includes(name));
    // They are read one after the other, and need not fit together.
    return Math.max(
      0,
      files.reduce((left, [, , bytes]) => left - Number(bytes), used),
    );
  }
  return undefined;
}
