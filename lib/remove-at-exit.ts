import { rmSync } from 'node:fs';
import { native } from './native';

const pending = new Set<string>();

/**
 * Has a file or an empty directory removed when the process or worker ends, until the function that this returns is called;
 * of a directory and what is in it the directory has to come first.
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
