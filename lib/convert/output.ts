import type { BigIntStats } from 'node:fs';
import { lstat, realpath, stat, statfs } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import { isNativeError } from 'node:util/types';
import { WkvError } from '../errors';
import { formatBytes } from '../format-bytes';
import { pathText } from '../options';

/** Where the file is to be, and what is there; where that is a link, what it points to. */
export async function findOutput(
  output: unknown,
  overwrite: boolean,
): Promise<{ path: string; existing: BigIntStats | undefined }> {
  const path = pathText('output', output);
  const absolute = resolve(path);
  requirePermission(absolute);
  let existing: BigIntStats;
  try {
    existing = await stat(absolute, { bigint: true });
  } catch (error) {
    const { code, reason } = whatSystemSays(error);
    if (code !== 'ENOENT') throw unwritable(absolute, code, reason);
    await refuseLink(absolute);
    if (path.endsWith('/') || path.endsWith(sep)) {
      throw unwritable(absolute, 'ENOENT', 'there is no such directory');
    }
    return { path: absolute, existing: undefined };
  }
  if (existing.isDirectory()) throw unwritable(absolute, 'EISDIR', 'it is a directory');
  if (!existing.isFile()) throw unwritable(absolute, 'EINVAL', 'it is no regular file');
  if (!overwrite) {
    // Native code says the same where it comes while the file is written.
    throw unwritable(absolute, 'EEXIST', 'it exists; the option overwrite (wkv convert --force) replaces it');
  }
  const real = await realpath(absolute);
  requirePermission(real);
  return { path: real, existing };
}

/** Node's permissions do not bind native code, which writes the file. */
function requirePermission(path: string): void {
  const { permission } = process as { permission?: NodeJS.Process['permission'] };
  if (permission?.has('fs.write', path) === false) {
    throw unwritable(path, 'ERR_ACCESS_DENIED', 'Node was started without the permission (--allow-fs-write)');
  }
}

/** Refuses what the disk has no room for, where it says how much it has. */
export async function requireRoom(path: string, bytes: number): Promise<void> {
  let free: number;
  try {
    const { bavail, blocks, bsize } = await statfs(dirname(path));
    if (blocks === 0) return; // it does not say
    free = bavail * bsize;
  } catch {
    return; // writing will say what is wrong
  }
  if (bytes <= free) return;
  throw new WkvError(
    'ERR_WKV_MEMORY',
    `${path}: the file takes ${formatBytes(bytes)}, but the disk has only ${formatBytes(free)} free`,
    { path, expected: `${bytes} bytes`, found: `${free} bytes` },
  );
}

/** Refuses a link that leads nowhere: a file in its place would not be where the link says. */
async function refuseLink(path: string): Promise<void> {
  try {
    await lstat(path);
  } catch {
    return; // nothing is there
  }
  throw unwritable(path, 'ENOENT', 'it is a link to a file that is not there');
}

function unwritable(path: string, code: string, why: string): Error {
  return Object.assign(new Error(`${path}: cannot be written: ${why}`), { code, path });
}

/** The code and the words of an error of the file system, without the call that failed. */
function whatSystemSays(error: unknown): { code: string; reason: string } {
  if (!(isNativeError(error) && 'errno' in error)) throw error;
  const [code, words] = getSystemErrorMap().get(Number(error.errno)) ?? ['EIO', error.message];
  return { code, reason: code === 'ENOTDIR' ? 'a part of its path is not a directory' : words };
}
