import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';

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
  for (const { folder, usage, cached } of cgroups()) {
    try {
      const used = Number(readFileSync(join(folder, usage), 'utf8'));
      const statistics = readFileSync(join(folder, 'memory.stat'), 'utf8');
      const found = [...statistics.matchAll(/^(\w+) (\d+)$/gm)].filter(([, name = '']) =>
        cached.includes(name),
      );
      const files = found.reduce((sum, [, , bytes]) => sum + Number(bytes), 0);
      if (used > 0) return Math.max(0, used - files);
    } catch {
      continue; // mounted elsewhere, or none
    }
  }
  return undefined;
}

/** Where the files of its cgroup may be, of version 2, then 1; inside of a container they are often at the root. */
function cgroups(): { folder: string; usage: string; cached: string[] }[] {
  if (process.platform !== 'linux') return [];
  let text: string;
  try {
    text = readFileSync('/proc/self/cgroup', 'utf8');
  } catch {
    return [];
  }
  const root = '/sys/fs/cgroup';
  const second = { usage: 'memory.current', cached: ['inactive_file', 'active_file'] };
  const first = { usage: 'memory.usage_in_bytes', cached: ['total_inactive_file', 'total_active_file'] };
  const [, unified] = /^0::(.*)$/m.exec(text) ?? [];
  const [, memory] = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(text) ?? [];
  return [
    ...(unified === undefined ? [] : [unified, '']).map((path) => ({ folder: join(root, path), ...second })),
    ...(memory === undefined ? [] : [memory, '']).map((path) => ({
      folder: join(root, 'memory', path),
      ...first,
    })),
  ];
}
