import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { WkvError } from './errors';
import type { TensorDirectory } from './formats';
import { cannotOpen } from './formats/source';
import { Tokenizer, worldSize, worldVocabularyName, worldVocabularyPath } from './tokenizer';

/** The highest id of the World vocabulary that has bytes; models of it have up to 65,536 ids. */
const worldHighestId = 65_529;

/**
 * Finds the tokenizer of a model: the model's own, else a vocabulary file beside the model, else the World vocabulary
 * of the package or the bytes where the number of ids is theirs.
 *
 * A file beside the model is taken only where the model has all of its ids, so that models of several kinds may
 * share a directory; a `vocab.txt` only where it can be read and is in the format of the World vocabulary at all, for
 * other programs use that name too.
 *
 * @param modelPath the model's file, or its directory
 * @param vocabularySize how many ids the model has
 * @param own the vocabulary that the model's file holds
 * @returns nothing where none is found
 * @throws {WkvError} `ERR_WKV_FORMAT` where the file that is found is damaged, or cannot be read
 */
export function findTokenizer(
  modelPath: string,
  vocabularySize: number,
  own?: TensorDirectory['vocabulary'],
): Tokenizer | undefined {
  if (own !== undefined) return Tokenizer.fromParsed(own, modelPath);
  // A file was opened whose path may have a slash at its end, which the file system does not take.
  return besideModel(resolve(modelPath), vocabularySize) ?? bySize(vocabularySize);
}

function besideModel(modelPath: string, vocabularySize: number): Tokenizer | undefined {
  const isDirectory = statSync(modelPath, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const directory = isDirectory ? modelPath : dirname(modelPath);
  for (const name of [worldVocabularyName, 'vocab.txt']) {
    const path = join(directory, name);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) continue;
    if (name !== worldVocabularyName && !looksLikeVocabulary(path)) continue;
    const tokenizer = readVocabulary(path);
    const needed = tokenizer.size === worldSize ? worldHighestId + 1 : tokenizer.size;
    if (needed <= vocabularySize) return tokenizer;
  }
  return undefined;
}

/** Whether a file begins as a vocabulary does: a number, a space, a Python literal. */
function looksLikeVocabulary(path: string): boolean {
  const start = Buffer.alloc(19);
  let length: number;
  try {
    const file = openSync(path, 'r');
    try {
      length = readSync(file, start, 0, start.length, 0);
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
  return /^(?:\xef\xbb\xbf)?\d+ b?['"]/.test(start.toString('latin1', 0, length));
}

function readVocabulary(path: string): Tokenizer {
  try {
    return Tokenizer.fromVocabulary(path);
  } catch (error) {
    throw error instanceof WkvError ? error : cannotOpen(path, error);
  }
}

function bySize(vocabularySize: number): Tokenizer | undefined {
  if (vocabularySize === 256) return Tokenizer.bytes();
  const isWorld = vocabularySize > worldHighestId && vocabularySize <= worldSize;
  return isWorld && existsSync(worldVocabularyPath) ? Tokenizer.world() : undefined;
}
