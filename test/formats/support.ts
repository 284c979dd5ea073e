import { createHash } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WkvError } from '../../lib/errors';
import { openTensorDirectory } from '../../lib/formats';
import { bytesOf } from '../support/compare';
import { call, global, type Python, tuple } from '../support/pickle-writer';
import type { WritableTensor } from '../support/pth-writer';
import { readTensors } from '../support/read-tensors';
import { temporaryFolder } from '../support/temporary-folder';

/** A directory for the files of one test file, removed after its last test. */
export function useScratchDirectory(): (name: string) => string {
  const directory = temporaryFolder();
  return (name) => join(directory, name);
}

/** A few tensors of every type whose elements each type holds exactly. */
export const smallModel: readonly WritableTensor[] = [
  { name: 'emb.weight', type: 'bf16', shape: [3, 2], data: [1, -2, 0.5, 0, 96, -0.25] },
  { name: 'blocks.0.ln0.weight', type: 'f32', shape: [4], data: [1, 2, 3, 4.0625] },
  { name: 'head.weight', type: 'f16', shape: [2, 2], data: [1.5, -1.5, 1024, 0.125] },
];

/** What {@link valuesOf} finds in a file of that model. */
export const smallValues = smallModel.map(({ name, data }) => [name, Array.from(data)]);

/** What the process holds open or has left behind. */
function resources(): { handles: number | undefined; temporary: string[]; atExit: number } {
  return {
    handles: process.platform === 'linux' ? readdirSync('/proc/self/fd').length : undefined,
    temporary: temporaryFiles(),
    atExit: process.listenerCount('exit'),
  };
}

/** What this process has in the directory for temporary files. */
export function temporaryFiles(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(`wkv-${process.pid}-`));
}

/** Runs `work` and expects that no file handle and no temporary file is left. */
export async function leavingNothing<Result>(work: () => Promise<Result>): Promise<Result> {
  const before = resources();
  const result = await work();
  expect(resources()).toEqual(before);
  return result;
}

/** The tensors of a file in its order, each with its name and its elements. */
export async function valuesOf(path: string): Promise<[string, number[]][]> {
  return await leavingNothing(async () =>
    [...(await readTensors(path)).values()].map(({ name, values }) => [name, [...values]]),
  );
}

/** The error that a path is refused with; a failure of the test where it is not. */
export async function refusal(path: string): Promise<WkvError> {
  return await leavingNothing(async () => {
    try {
      const directory = await openTensorDirectory(path);
      await directory.close();
    } catch (error) {
      if (error instanceof WkvError) return error;
      throw error;
    }
    throw new Error(`${path} was accepted`);
  });
}

/** The same for a file of these bytes. */
export async function refusalOf(path: string, bytes: Uint8Array): Promise<WkvError> {
  writeFileSync(path, bytes);
  try {
    return await refusal(path);
  } finally {
    rmSync(path);
  }
}

export interface PickledTensor {
  storageType?: Python;
  key?: Python;
  elements?: Python;
  offset?: Python;
  shape?: readonly Python[];
  strides?: readonly Python[];
}

/** A tensor as torch pickles it, by default `[2, 2]` of float32 in the storage `0` of 4 elements. */
export function pickledTensor({
  storageType = global('torch', 'FloatStorage'),
  key = '0',
  elements = 4,
  offset = 0,
  shape = [2, 2],
  strides = [2, 1],
}: PickledTensor = {}): Python {
  return call(
    global('torch._utils', '_rebuild_tensor_v2'),
    { persistent: tuple('storage', storageType, key, 'cpu', elements) },
    offset,
    tuple(...shape),
    tuple(...strides),
    false,
    call(global('collections', 'OrderedDict')),
  );
}

/** Names, shapes and numbers, in the order of names; of the numbers the first ones, and a digest of all. */
export function summaryOf(
  tensors: Iterable<{ name: string; shape: readonly number[]; numbers: ArrayLike<number> }>,
) {
  return [...tensors]
    .map(({ name, shape, numbers }) => {
      const values = Float64Array.from(numbers);
      const digest = createHash('sha256').update(bytesOf(values)).digest('hex');
      return { name, shape, first: [...values.subarray(0, 4)], digest };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The same of a file. */
export async function summaryOfFile(path: string) {
  const tensors = [...(await readTensors(path)).values()];
  return summaryOf(tensors.map(({ name, shape, values }) => ({ name, shape, numbers: values })));
}
