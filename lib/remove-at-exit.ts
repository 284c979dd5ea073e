import { rmSync } from 'node:fs';

const pending = new Set<string>();

/** Has a file or directory removed when the process (or worker) exits, until the function that this returns is called. */
export function removeAtExit(path: string): () => void {
  if (pending.size === 0) process.on('exit', removePending);
  pending.add(path);
  return () => {
    pending.delete(path);
    if (pending.size === 0) process.off('exit', removePending);
  };
}

function removePending(): void {
  for (const path of pending) rmSync(path, { recursive: true, force: true });
}
