import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** How many threads this process may keep busy: its processor affinity, and on Linux its cgroup's share. */
export function usableThreads(): number {
  return Math.max(1, Math.min(availableParallelism(), cgroupLimit()));
}

/** The cgroup's processor time as a number of processors; infinite where there is no limit. */
function cgroupLimit(): number {
  if (process.platform !== 'linux') return Infinity;
  let text: string;
  try {
    text = readFileSync('/sys/fs/cgroup/cpu.max', 'utf8');
  } catch {
    return Infinity; // another cgroup version, or none
  }
  const [quota, period] = text.trim().split(' ').map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0
    ? Math.ceil(quota / period)
    : Infinity;
}
