import { WkvError } from '../errors';
import { corrupt } from './failures';
import { describeUnknown } from './lookalikes';
import { type FormatReader, headBytes, type ReadContext } from './reader';
import { readers } from './readers';
import { Source } from './source';
import type { TensorDirectory } from './tensor-directory';

/** Shorter than the shortest model, and too short to be told from another format. */
const minBytes = 16;

/** Opens a file that could hold a model, and closes it again however `use` ends. */
export async function withSource<Result>(
  path: string,
  { signal, opened }: ReadContext,
  use: (source: Source, head: Buffer) => Promise<Result>,
): Promise<Result> {
  const source = await Source.open(path, signal);
  opened.push(source.file);
  try {
    if (source.size === 0) throw corrupt(path, 'the file is empty');
    return await use(source, await source.read(0, Math.min(headBytes, source.size), 'its first bytes'));
  } finally {
    await source.close();
  }
}

/** The reader of a weight file, by its first bytes. */
export function findReader(head: Buffer): FormatReader | undefined {
  return readers.find((reader) => reader.matches(head));
}

/** Reads the header of one weight file, whatever its format; names are left as the file has them. */
export async function openWeightFile(path: string, context: ReadContext): Promise<TensorDirectory> {
  return await withSource(path, context, async (source, head) => {
    const reader = findReader(head);
    if (reader === undefined) throw unknownFile(path, head);
    return await reader.read(source, context);
  });
}

/** The error for a file that no reader recognizes. */
export function unknownFile(path: string, head: Buffer): WkvError {
  if (head.length < minBytes) {
    return corrupt(path, `the file has only ${head.length} bytes, too few for a model`);
  }
  const { code, description } = describeUnknown(head);
  return new WkvError(code, `${path}: the file is ${description}`, { path });
}
