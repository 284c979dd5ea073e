import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { realpath, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WkvError } from './errors';
import { openTensorDirectory, type TensorDirectory } from './formats';
import { layOutPacked } from './formats/packed';
import { runJob } from './job';
import { fromNative, native } from './native';
import {
  abortSignal,
  boolean,
  callback,
  checkOptions,
  integer,
  oneOf,
  wrongType,
  wrongValue,
} from './options';
import { quantizedPrecisions, type QuantizedPrecision } from './quantized';
import { removeAtExit } from './remove-at-exit';
import { usableThreads } from './threads';

export interface ConvertProgress {
  phase: 'convert';
  /** Bytes of weights read so far. */
  completed: number;
  /** Bytes of weights in all. */
  total: number;
}

export interface ConvertOptions {
  /** What the matrices are packed as. */
  weights: QuantizedPrecision;
  /** Whether a file that is already there is replaced; by default that is an error with the code `EEXIST`. */
  overwrite?: boolean;
  /** Threads that compute, 1 to 256; by default what the process may use. The file does not depend on it. */
  threads?: number;
  /** Called now and then; what it throws ends the conversion. */
  onProgress?: (progress: ConvertProgress) => void;
  /** Ends the conversion; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** What {@link convertModel} has written. */
export interface Conversion {
  /** Absolute path of the file. */
  path: string;
  weights: QuantizedPrecision;
  /** Size of the file. */
  bytes: number;
  /** Of the weights: that of the model it was made from, so that states of one fit the other. */
  fingerprint: string;
}

/**
 * Packs a model: writes a file with its matrices quantized, as kernels read them, which {@link loadModel} maps into
 * memory and uses where it lies (docs/packed-format.md). The results are, bit for bit, those of the original loaded
 * with the same `weights`. Only a few matrices are in memory at a time.
 *
 * The file appears in its place when it is whole and on the disk. A conversion that fails, or is called off, leaves
 * nothing, and what was there as it was.
 *
 * @param input a model that is not packed, as {@link loadModel} takes it
 * @param output path or `file:` URL of the file to write, a `.safetensors`
 * @throws {WkvError} what `loadModel` throws for the input; `ERR_WKV_UNSUPPORTED` for a packed one; `ERR_WKV_MEMORY`
 *   where the disk has no room
 * @throws {TypeError} or {RangeError} for wrong options, and where the output is a file of the input
 * @throws {Error} with the system's code (`EEXIST`, `EACCES`, `ENOENT` and so on) and `path` where the output cannot be
 *   written
 */
export async function convertModel(
  input: string | URL,
  output: string | URL,
  options: ConvertOptions,
): Promise<Conversion> {
  const checked = checkConvertOptions(options);
  const { weights, signal, onProgress, overwrite = false } = checked;
  if (weights === undefined) throw wrongType('options.weights', names, weights);
  signal?.throwIfAborted();
  const { path, existing } = await findOutput(output, overwrite);
  const directory = await openTensorDirectory(input, { signal });
  try {
    refuseInput(directory, existing, path);
    const matrices = native.planConversion(directory, weights);
    const layout = layOutPacked(weights, matrices, othersThan(matrices, directory));
    await requireRoom(path, layout.bytes);
    const file = {
      ...{ path, weights, header: layout.header, fingerprintAt: layout.fingerprintAt, places: layout.places },
      temporary: join(dirname(path), `wkv-${process.pid}-${randomBytes(8).toString('hex')}.part`),
      threads: checked.threads ?? usableThreads(),
    };
    // Native code removes it too, but the process may end without it.
    const isOver = removeAtExit(file.temporary);
    const fingerprint = await runJob((report) => native.convertModel(directory, file, report), {
      onProgress: onProgress && ((completed, total) => onProgress({ phase: 'convert', completed, total })),
      signal,
    }).finally(isOver);
    return { path, weights, bytes: layout.bytes, fingerprint };
  } catch (error) {
    throw fromNative(error, { path: input instanceof URL ? fileURLToPath(input) : input });
  } finally {
    await directory.close();
  }
}

const names = quantizedPrecisions.map((name) => `'${name}'`).join(' or ');

function checkConvertOptions(options: unknown) {
  return checkOptions<ConvertOptions>(options, {
    weights: oneOf(...quantizedPrecisions),
    overwrite: boolean,
    threads: integer(1, 256),
    onProgress: callback,
    signal: abortSignal,
  });
}

/** Where the file is to be, and what is there; where that is a link, what it points to. */
async function findOutput(
  output: unknown,
  overwrite: boolean,
): Promise<{ path: string; existing: BigIntStats | undefined }> {
  const path = output instanceof URL ? fileURLToPath(output) : output;
  if (typeof path !== 'string' || path === '') throw wrongType('output', 'a path or a file: URL', output);
  const absolute = resolve(path);
  let existing: BigIntStats;
  try {
    existing = await stat(absolute, { bigint: true });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { path: absolute, existing: undefined };
    throw error;
  }
  if (existing.isDirectory()) throw unwritable(absolute, 'EISDIR', 'it is a directory');
  if (!existing.isFile()) throw unwritable(absolute, 'EINVAL', 'it is no regular file');
  if (!overwrite) {
    throw unwritable(absolute, 'EEXIST', 'it exists; the option overwrite (wkv convert --force) replaces it');
  }
  return { path: await realpath(absolute), existing };
}

function refuseInput(directory: TensorDirectory, output: BigIntStats | undefined, path: string): void {
  const isInput = directory.files.some(({ device, inode }) => device === output?.dev && inode === output.ino);
  if (isInput) throw wrongValue(`output: ${path} is a file of the model that is to be converted`);
  if (directory.packed !== undefined) {
    const { weights } = directory.packed;
    const file = directory.files[0]?.path ?? '';
    throw new WkvError(
      'ERR_WKV_UNSUPPORTED',
      `${file}: is packed already, as ${weights}; convert the file that it was made from`,
      { path: file, expected: 'weights that are not quantized', found: weights },
    );
  }
}

/** The tensors that are not packed. */
function othersThan(matrices: readonly { name: string }[], { tensors }: TensorDirectory) {
  const packed = new Set(matrices.map(({ name }) => name));
  return tensors.flatMap((tensor) => (tensor.type === 'packed' || packed.has(tensor.name) ? [] : [tensor]));
}

/** Refuses what the disk has no room for, where it says how much it has. */
async function requireRoom(path: string, bytes: number): Promise<void> {
  let free: number;
  try {
    const { bavail, bsize } = await statfs(dirname(path));
    free = bavail * bsize;
  } catch {
    return; // writing will say what is wrong
  }
  if (bytes <= free) return;
  const gib = (count: number): string => `${(count / 2 ** 30).toFixed(2)} GiB`;
  throw new WkvError(
    'ERR_WKV_MEMORY',
    `${path}: the packed file takes ${gib(bytes)}, but the disk has only ${gib(free)} free`,
    { path, expected: `${bytes} bytes`, found: `${free} bytes` },
  );
}

function unwritable(path: string, code: string, why: string): Error {
  return Object.assign(new Error(`${path}: cannot be written: ${why}`), { code, path });
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
}
