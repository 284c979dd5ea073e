import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The folders of the process's cgroup and of those around it, whose limits hold as well: innermost first, the mount last.
 * Some need not exist: inside of a container the names are often those outside, and only the mount is its own.
 *
 * @param controller of cgroups of version 1, where each may have a hierarchy of its own; version 2 without it
 */
export function cgroupFolders(controller = ''): string[] {
  if (process.platform !== 'linux') return [];
  for (const line of read('/proc/self/cgroup').split('\n')) {
    const [, controllers, path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers?.split(',').includes(controller) !== true) continue;
    const names = path.split('/').filter((name) => name !== '');
    return Array.from({ length: names.length + 1 }, (_, levels) =>
      join('/sys/fs/cgroup', controller, ...names.slice(0, names.length - levels)),
    );
  }
  return [];
}

/** What a file of the system says; nothing where it cannot be read. */
export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // another cgroup version, mounted elsewhere, another system
  }
}
