import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathText } from '../options';
import { unpacked } from '../unpacked';
import { refuseAdapters } from './adapters';
import { openModelDirectory, openModelFile } from './model-directory';
import { corrupt } from './failures';
import { withCanonicalNames } from './namings/canonical';
import { cannotOpen } from './source';
import type { SourceFile, TensorDirectory } from './tensor-directory';
import { quoted } from '../quoted';

export type { BlockType, SourceFile, StoredTensor, StoredType, TensorDirectory } from './tensor-directory';
export { bytesOfNumbers, isBlockType, storedTypeBytes } from './tensor-directory';

interface OpenOptions {
  /** Ends the reading; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Leaves compressed weights as they are; the places of their tensors then mean nothing. */
  headersOnly?: boolean | undefined;
  /** Gets every file that is opened: those of the tensors, and an index or settings beside them. */
  opened?: SourceFile[];
}

/**
 * Reads the headers of a model: what tensors there are, of what type and shape, and where their elements lie.
 * Formats are recognized by content. Nothing of a file is executed, and of the weights themselves nothing is
 * read (except where a `.pth` is compressed: those are inflated into a temporary file, which `close` removes, unless only
 * headers are asked for).
 *
 * @param path a weight file (`.pth` of any torch since 0.4, `.safetensors`, packed or not, `.st` of web-rwkv, `.gguf` of
 *   llama.cpp, `.bin` of rwkv.cpp) as path or `file:` URL, a directory as Hugging Face lays it out (`config.json`, the
 *   model in one or several files), or the index of such a model
 * @returns tensors under the names that BlinkDL gives them, each within its file
 * @throws WkvError `ERR_WKV_FORMAT` for what is missing, truncated or corrupt, `ERR_WKV_UNSUPPORTED` for what is
 *   sound but not read here, `ERR_WKV_MEMORY` where there is no room for the temporary file
 * @throws TypeError for a path that is neither text nor a `file:` URL, or for a URL that is no path here
 */
export async function openTensorDirectory(
  path: string | URL,
  { signal, headersOnly = false, opened = [] }: OpenOptions = {},
): Promise<TensorDirectory> {
  signal?.throwIfAborted();
  const absolute = modelPath(path);
  const context = { signal, headersOnly, opened };
  const directory = (await isDirectory(absolute))
    ? await openModelDirectory(absolute, context)
    : await openModelFile(absolute, context);
  try {
    signal?.throwIfAborted();
    requireNames(directory, absolute);
    refuseAdapters(directory, absolute);
    return withOwnProperties(withCanonicalNames(directory, absolute));
  } catch (error) {
    await directory.close();
    throw error;
  }
}

/**
 * The absolute path of a model that a caller names: to be asked for before anything is awaited, as the process may move to
 * another directory meanwhile.
 *
 * @throws WkvError `ERR_WKV_FORMAT` for an address
 * @throws TypeError for a path that is neither text nor a `file:` URL, or for a URL that is no path here
 */
export function modelPath(path: string | URL, name = 'path'): string {
  const text = pathText(name, path);
  refuseAddress(text);
  return resolve(text);
}

/** Nothing that cannot be seen, or that turns what follows around, nor so long that no message should have it. */
const readableName = /^[^\p{C}\p{Zl}\p{Zp}]{1,1000}$/u;

/** Refuses names that native code, which has them in its messages and as UTF-8, would take for others. */
function requireNames({ tensors }: TensorDirectory, path: string): void {
  const bad = tensors.find(({ name }) => !readableName.test(name));
  if (bad === undefined) return;
  throw corrupt(path, `a tensor is called ${quoted(bad.name)}`, {
    expected: 'a name of 1 to 1000 printable characters',
    found: quoted(bad.name),
  });
}

/** What is not there is `undefined`, whatever Object.prototype has: native code would look for it there. */
function withOwnProperties(directory: TensorDirectory): TensorDirectory {
  return {
    vocabulary: undefined,
    packed: undefined,
    ownName: undefined,
    ...directory,
    tensors: directory.tensors.map((tensor) =>
      tensor.type === 'packed' ? tensor : { applied: undefined, scale: undefined, ...tensor },
    ),
  };
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(unpacked(path))).isDirectory();
  } catch (cause) {
    throw cannotOpen(path, cause);
  }
}

function refuseAddress(path: string): void {
  // One letter is a drive.
  const [, scheme] = /^([a-z][a-z0-9+.-]+):\/\//i.exec(path) ?? [];
  if (scheme === undefined) return;
  throw corrupt(path, 'is an address; download the file and give its path');
}
