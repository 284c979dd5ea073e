import { rmSync } from 'node:fs';
import { native } from './native';

const pending = new Set<string>();

/**
 * Has a file or an empty directory removed when the process or worker ends, until the function that this returns is called.
 * Name a directory before the files in it: they are removed in the opposite order.
 */
export function removeAtExit(path: string): () => void {
  if (pending.size === 0) process.on('exit', removePending);
  pending.add(path);
  // For workers that are terminated.
  native.addTemporaryPath(path);
  return () => {
    pending.delete(path);
    native.forgetTemporaryPath(path);
    if (pending.size === 0) process.off('exit', removePending);
  };
}

function removePending(): void {
  for (const path of pending) rmSync(path, { recursive: true, force: true });
}
