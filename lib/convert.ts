import type { BigIntStats } from 'node:fs';
import { findOutput, requireRoom } from './convert/output';
import { planConversion } from './convert/plan';
import { WkvError } from './errors';
import { modelPath, openTensorDirectory, type SourceFile, type TensorDirectory } from './formats';
import { runJob } from './job';
import { fromNative } from './native';
import {
  abortSignal,
  boolean,
  callback,
  checkOptions,
  integer,
  oneOf,
  wrongValue,
  type Checks,
} from './options';
import { partBeside } from './part-file';
import { precisions, type Precision } from './quantized';
import { removeAtExit } from './remove-at-exit';
import { maxThreads, usableThreads } from './threads';

export interface ConvertProgress {
  phase: 'convert';
  /** Bytes of weights read so far. */
  completed: number;
  /** Bytes of weights in all. */
  total: number;
}

export interface ConvertOptions {
  /**
   * 'int8' or 'int4': matrices are packed as that, for {@link loadModel} to use where they lie. 'f32', 'f16' or 'bf16':
   * a plain `.safetensors` of all tensors in that type, with a fingerprint of its own if the original had another type. To
   * 'f32', everything is exact; to 'f16' and 'bf16', numbers are rounded to the nearest, ties to even, unless they have
   * that type already, and those that would become infinite are refused.
   */
  weights: Precision;
  /**
   * Whether a file that is already there, or comes there meanwhile, is replaced; by default that is an error with the
   * code `EEXIST`.
   */
  overwrite?: boolean | undefined;
  /** Threads that compute, 1 to 256; by default what the process may use. The file does not depend on it. */
  threads?: number | undefined;
  /** Called now and then; what it throws ends the conversion. */
  onProgress?: ((progress: ConvertProgress) => void) | undefined;
  /** Ends the conversion; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What {@link convertModel} has written. */
export interface Conversion {
  /** Absolute path of the file. */
  path: string;
  weights: Precision;
  /** Size of the file, in bytes. */
  bytes: number;
  /** Of packed weights: that of the model they were made from, so that states of one fit the other. */
  fingerprint?: string;
}

/**
 * Writes a model into one file of another kind.
 *
 * With `weights` 'int8' or 'int4' it is packed: its matrices are quantized, as kernels read them, and {@link loadModel}
 * maps the file into memory and uses it where it lies (docs/packed-format.md). The results are, bit for bit, those of
 * the original loaded with the same `weights`. Only a few matrices are in memory at a time.
 *
 * With 'f32', 'f16' or 'bf16' it is a `.safetensors` for any program: all tensors, under the names and with the shapes
 * that BlinkDL gives them, of any version of RWKV, whether {@link loadModel} knows it or not, unless an adapter's are
 * among them. Only a few megabytes are in memory at a time.
 *
 * The file appears in its place when it is whole and on the disk. A conversion that fails, or is called off, leaves
 * nothing, and what was there as it was. A file that takes the place of another has its permissions.
 *
 * @param input a model that is not packed, as {@link loadModel} takes it
 * @param output path or `file:` URL of the file to write, a `.safetensors`
 * @throws {WkvError} what `loadModel` throws for the input; `ERR_WKV_UNSUPPORTED` for a packed one, and for numbers
 *   that the file's type cannot hold; `ERR_WKV_MEMORY` where the disk has no room
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
  const { weights, signal, onProgress, overwrite = false, threads = usableThreads() } = checked;
  signal?.throwIfAborted();
  const source = modelPath(input, 'input');
  const { path, existing } = await findOutput(output, overwrite);
  const opened: SourceFile[] = [];
  const directory = await openTensorDirectory(source, { signal, opened });
  try {
    refuseInput([...opened, ...directory.files], existing, path);
    refusePacked(directory);
    const { bytes, write } = planConversion(directory, weights);
    await requireRoom(path, bytes);
    const temporary = partBeside(path);
    const destination = { temporary, path, overwrite, threads };
    // Native code removes it too, but the process may end without it.
    const isOver = removeAtExit(temporary);
    const fingerprint = await runJob((report) => write(destination, report), {
      onProgress: onProgress && ((completed, total) => onProgress({ phase: 'convert', completed, total })),
      signal,
    }).finally(isOver);
    return { path, weights, bytes, ...(fingerprint === true ? {} : { fingerprint }) };
  } catch (error) {
    throw fromNative(error, { path: source }, directory.ownName);
  } finally {
    await directory.close();
  }
}

function checkConvertOptions(options: unknown) {
  const checks: Checks<ConvertOptions> = {
    weights: oneOf(...precisions),
    overwrite: boolean,
    threads: integer(1, maxThreads),
    onProgress: callback,
    signal: abortSignal,
  };
  return checkOptions(options, checks, 'options', ['weights']);
}

function refuseInput(files: readonly SourceFile[], output: BigIntStats | undefined, path: string): void {
  const isInput = files.some(({ device, inode }) => device === output?.dev && inode === output.ino);
  if (isInput) throw wrongValue(`output: ${path} is a file of the model that is to be converted`);
}

function refusePacked(directory: TensorDirectory): void {
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
