import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import { WkvError } from '../errors';
import { corrupt } from './failures';
import { maxHeaderBytes } from './limits';
import type { Source } from './source';
import type { TemporaryFile } from './temporary-file';
import { locateZipEntry, type ZipEntry } from './zip';
import { quoted } from '../quoted';
import { messageOf } from '../thrown';

/** Deflate says at most 258 bytes with 2 bits; what claims more is a lie. */
const maxRatio = 1032;

/** Reads a small entry into memory, inflated, its size and checksum checked. */
export async function readZipEntry(
  source: Source,
  entry: ZipEntry,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const what = `the zip entry ${quoted(entry.name)}`;
  if (Math.max(entry.size, entry.compressedSize) > maxHeaderBytes) {
    throw corrupt(source.path, `${what} is too large for a header`, {
      expected: `at most ${maxHeaderBytes} bytes`,
      found: `${Math.max(entry.size, entry.compressedSize)} bytes`,
    });
  }
  if (entry.compression === 'deflated') {
    checkRatio(source.path, entry);
    const chunks: Buffer[] = [];
    await inflate(source, entry, (chunk) => Promise.resolve(void chunks.push(chunk)), signal);
    return Buffer.concat(chunks);
  }
  const bytes = await source.read(await locateZipEntry(source, entry), entry.size, what);
  // Torch writes 0 where it was told to compute none (set_crc32_options). So damage of such a pickle is noticed only where
  // the pickle, or its storages, no longer fit; a file that is made to deceive has its checksums right anyway.
  if (entry.crc32 !== 0 && crc32(bytes) !== entry.crc32) throw damaged(source.path, entry);
  return bytes;
}

/**
 * Inflates a large entry to the end of a temporary file, in pieces.
 *
 * @returns where in the temporary file its bytes begin
 */
export async function inflateToFile(
  source: Source,
  entry: ZipEntry,
  target: TemporaryFile,
  signal: AbortSignal | undefined,
): Promise<number> {
  const place = target.align();
  await inflate(source, entry, (chunk) => target.append(chunk), signal);
  return place;
}

/** Refuses an entry that claims to inflate to more than deflate can express. */
export function checkRatio(path: string, entry: ZipEntry): void {
  if (entry.size > entry.compressedSize * maxRatio + 64) {
    throw corrupt(
      path,
      `the zip entry ${quoted(entry.name)} claims to grow from ${entry.compressedSize} bytes`,
      {
        expected: `at most ${entry.compressedSize * maxRatio} bytes`,
        found: `${entry.size} bytes`,
      },
    );
  }
}

/** Hands the inflated bytes over in pieces, never more than the directory says; checks size and checksum. */
async function inflate(
  source: Source,
  entry: ZipEntry,
  take: (chunk: Buffer) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { path } = source;
  const begin = await locateZipEntry(source, entry);
  const inflater = createInflateRaw({ chunkSize: 1 << 18 });
  let size = 0;
  let checksum = 0;
  let failure: unknown;
  try {
    await pipeline(
      source.stream(begin, entry.compressedSize, `the zip entry ${quoted(entry.name)}`),
      inflater,
      async (inflated: AsyncIterable<Buffer>) => {
        for await (const chunk of inflated) {
          try {
            size += chunk.length;
            if (size > entry.size) throw damaged(path, entry);
            checksum = crc32(chunk, checksum);
            await take(chunk);
          } catch (error) {
            failure = error;
            throw error;
          }
        }
      },
      { signal },
    );
  } catch (error) {
    signal?.throwIfAborted();
    // Of what is thrown above, the pipeline may say no more than that it was aborted.
    const reason = failure ?? error;
    if (reason instanceof WkvError) throw reason;
    throw damaged(path, entry, reason);
  }
  // The inflater stops at the end of the compressed data: `bytesWritten` is what it has used.
  if (size !== entry.size || checksum !== entry.crc32 || inflater.bytesWritten !== entry.compressedSize) {
    throw damaged(path, entry);
  }
}

function damaged(path: string, entry: ZipEntry, cause?: unknown): WkvError {
  const reason = cause === undefined ? 'size or checksum do not match' : messageOf(cause);
  return corrupt(path, `the zip entry ${quoted(entry.name)} is damaged: ${reason}`, { cause });
}
