import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cgroupFolders, read } from './cgroups';

/** More than this a model does not take. */
export const maxThreads = 256;

/**
 * How many threads this process may keep busy, at most {@link maxThreads}: its processor affinity, and on Linux its
 * share by cgroups (version 2).
 */
export function usableThreads(): number {
  const limits = cgroupFolders().map(processorsOf);
  return Math.max(1, Math.min(availableParallelism(), maxThreads, ...limits));
}

/** A cgroup's processor time as a number of processors, rounded up; infinite where there is no limit. */
function processorsOf(folder: string): number {
  const [quota = NaN, period = NaN] = read(join(folder, 'cpu.max')).trim().split(' ').map(Number);
  return quota > 0 && period > 0 ? Math.ceil(quota / period) : Infinity;
}
