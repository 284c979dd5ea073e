import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { types } from 'node:util';
import { WkvError } from '../errors';
import { archiveHint, unpacked } from '../unpacked';
import { corrupt } from './failures';
import type { SourceFile } from './tensor-directory';
import { errorCode, messageOf } from '../thrown';

const chunkBytes = 1 << 20;

/** A regular file that is open for reading at any place; whoever opens one closes it. */
export class Source {
  private constructor(
    private readonly handle: FileHandle,
    readonly file: SourceFile,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * Opens `path` (absolute), or what was unpacked of it from an Electron archive.
   *
   * @throws WkvError `ERR_WKV_FORMAT` where there is no such file, or it is not a regular file or not readable
   */
  static async open(path: string, signal?: AbortSignal): Promise<Source> {
    signal?.throwIfAborted();
    // Without O_NONBLOCK, opening a named pipe would wait for a writer. Windows has no such flag.
    const nonBlocking = process.platform === 'win32' ? 0 : constants.O_NONBLOCK;
    const file = unpacked(path);
    let handle: FileHandle;
    try {
      handle = await open(file, constants.O_RDONLY | nonBlocking);
    } catch (cause) {
      throw cannotOpen(path, cause);
    }
    try {
      return new Source(handle, await describeFile(handle, file), signal);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get path(): string {
    return this.file.path;
  }

  get size(): number {
    return this.file.size;
  }

  /** Reads exactly `length` bytes at `offset`; `what` names them in the error where the file is too short. */
  async read(offset: number, length: number, what: string): Promise<Buffer> {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      throw corrupt(this.path, `${what} has an impossible place (offset ${offset}, ${length} bytes)`);
    }
    if (offset + length > this.size) {
      throw corrupt(this.path, `the file ends inside ${what}`, {
        expected: `at least ${offset + length} bytes`,
        found: `${this.size} bytes`,
      });
    }
    const buffer = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      this.signal?.throwIfAborted();
      const { bytesRead } = await this.readSome(buffer, filled, offset + filled);
      if (bytesRead === 0) {
        throw corrupt(this.path, `the file became shorter while ${what} was being read`);
      }
      filled += bytesRead;
    }
    this.signal?.throwIfAborted();
    return buffer;
  }

  /** The bytes `offset` to `offset + length` as a stream. */
  stream(offset: number, length: number, what: string): Readable {
    return Readable.from(this.chunks(offset, length, what), { objectMode: false });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async *chunks(offset: number, length: number, what: string): AsyncGenerator<Buffer> {
    for (let done = 0; done < length; done += chunkBytes) {
      yield await this.read(offset + done, Math.min(chunkBytes, length - done), what);
    }
  }

  private async readSome(buffer: Buffer, filled: number, position: number): Promise<{ bytesRead: number }> {
    try {
      return await this.handle.read(buffer, filled, buffer.length - filled, position);
    } catch (cause) {
      throw corrupt(this.path, `cannot be read: ${messageOf(cause)}`, { cause });
    }
  }
}

/** What a file looks like now: size and identity. */
export async function describeFile(handle: FileHandle, path: string): Promise<SourceFile> {
  const stat = await handle.stat({ bigint: true });
  if (!stat.isFile()) {
    throw corrupt(path, 'is not a regular file', { expected: 'a file or a directory with a model' });
  }
  if (stat.size > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(path, 'is larger than any model');
  return {
    path,
    size: Number(stat.size),
    device: stat.dev,
    inode: stat.ino,
    modifiedNs: stat.mtimeNs,
    temporary: false,
  };
}

/** The error for a path that cannot be opened. */
export function cannotOpen(path: string, cause: unknown): Error {
  const code = errorCode(cause);
  // Node's own complaint about the argument (a NUL character in the path, say) stays what it is.
  if (types.isNativeError(cause) && code?.startsWith('ERR_INVALID_ARG') === true) return cause;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return corrupt(path, `no such file or directory${archiveHint(path)}`, { cause });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return corrupt(path, 'cannot be opened: permission denied', { cause });
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    // The file may well be sound.
    return new WkvError('ERR_WKV_MEMORY', `${path}: cannot be opened: ${messageOf(cause)}`, { path, cause });
  }
  return corrupt(path, `cannot be opened: ${messageOf(cause)}`, { cause });
}
