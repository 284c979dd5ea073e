import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { WkvError } from '../errors';
import { removeAtExit } from '../remove-at-exit';
import { describeFile } from './source';
import type { SourceFile } from './tensor-directory';
import { errorCode, messageOf } from '../thrown';

/** The system's, which TMPDIR may name from the working directory, and that may be another later. */
const temporaryDirectory = (): string => resolve(tmpdir());

/** Elements of tensors begin at multiples of this. */
const alignment = 64;

/** A file in the directory for temporary files, readable by its owner alone. */
export class TemporaryFile {
  private size = 0;

  private constructor(
    private readonly directory: string,
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly isGone: () => void,
  ) {}

  /** @throws WkvError `ERR_WKV_MEMORY` where the disk has not `bytes` free, or cannot be written to */
  static async create(bytes: number): Promise<TemporaryFile> {
    const free = await explained(freeBytes());
    if (bytes > free) throw noRoom(`it needs ${bytes} bytes and has ${free} free`);
    const directory = join(temporaryDirectory(), `wkv-${process.pid}-${randomBytes(6).toString('hex')}`);
    const path = join(directory, 'storages');
    // Before they are there, and the directory at once: so that none is left whenever the process ends.
    const gone = [directory, path].map(removeAtExit);
    const isGone = (): void => {
      for (const each of gone) each();
    };
    try {
      mkdirSync(directory, 0o700);
    } catch (error) {
      isGone();
      throw noRoom(messageOf(error), error);
    }
    try {
      return new TemporaryFile(directory, path, await explained(open(path, 'wx', 0o600)), isGone);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      isGone();
      throw error;
    }
  }

  /** Moves on to the next aligned place and returns it. */
  align(): number {
    this.size = Math.ceil(this.size / alignment) * alignment;
    return this.size;
  }

  async append(bytes: Buffer): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const writing = this.handle.write(bytes, done, bytes.length - done, this.size);
      const { bytesWritten } = await explained(writing);
      done += bytesWritten;
      this.size += bytesWritten;
    }
  }

  /** Ends writing; the file stays until `remove`. */
  async finish(): Promise<SourceFile> {
    const file = await describeFile(this.handle, this.path);
    await this.handle.close();
    return { ...file, temporary: true };
  }

  /** Closes and deletes the file, whatever was done to it before. */
  async remove(): Promise<void> {
    await this.handle.close();
    await rm(this.directory, { recursive: true, force: true });
    this.isGone();
  }
}

async function freeBytes(): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(temporaryDirectory());
  return blocks === 0 ? Infinity : bavail * bsize; // some file systems do not say how large they are
}

/** What the operating system says about the temporary file (disk full, no permission), as an error of this package. */
async function explained<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    throw noRoom(messageOf(cause), cause);
  }
}

function noRoom(why: string, cause?: unknown): WkvError {
  const variable = process.platform === 'win32' ? 'TEMP' : 'TMPDIR';
  const code = errorCode(cause) ?? '';
  let remedy = `Set ${variable} to a directory that can be written to.`;
  if (cause === undefined || ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)) {
    remedy = `Free some space there, or set ${variable} to a directory on a larger disk.`;
  } else if (code === 'EMFILE' || code === 'ENFILE') {
    remedy = 'Close some files, or raise the limit of open ones.';
  }
  return new WkvError(
    'ERR_WKV_MEMORY',
    `The weights are compressed and cannot be unpacked into ${temporaryDirectory()}: ${why}. ${remedy}`,
    { path: temporaryDirectory(), cause },
  );
}
