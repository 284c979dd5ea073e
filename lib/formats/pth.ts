import { corrupt, unsupported } from './failures';
import { checkRatio, inflateToFile, readZipEntry } from './inflate';
import { readPickle } from './pickle';
import { PickleEnd } from './pickle-bytes';
import type { PickleValue } from './pickle-values';
import type { FormatReader, ReadContext } from './reader';
import type { Source } from './source';
import { storedTypeBytes, type SourceFile, type TensorDirectory } from './tensor-directory';
import { TemporaryFile } from './temporary-file';
import { TorchWorld } from './torch';
import { collectTensors, type NamedTensor, placeTensor, type StoragePlace } from './torch-tensors';
import { locateZipEntry, readZipDirectory, type ZipEntry } from './zip';
import { quoted } from '../quoted';

/**
 * torch.save since 1.6: a zip archive with one folder of any name, in it `data.pkl` (a pickle that refers to
 * storages), `data/<key>` (the elements of a storage) and in newer files `byteorder`.
 *
 * Checksums of stored entries are not compared: that would mean to read all of the weights.
 */
export const pthReader: FormatReader = {
  matches: (head) => head.length >= 4 && ['PK\x03\x04', 'PK\x05\x06'].includes(head.toString('latin1', 0, 4)),
  read: readPth,
};

async function readPth(source: Source, { signal, headersOnly }: ReadContext): Promise<TensorDirectory> {
  const { path } = source;
  const entries = await readZipDirectory(source);
  const folder = findFolder(entries, path);
  await checkByteOrder(source, entries.get(`${folder}byteorder`), signal);
  const tensors = collectTensors(
    await readDataPickle(source, entries.get(`${folder}data.pkl`), signal),
    path,
  );

  const places = new Map<string, StoragePlace>();
  const deflated: [string, ZipEntry][] = [];
  for (const [key, entry] of storageEntries(tensors, entries, folder, path)) {
    if (entry.compression === 'stored') {
      places.set(key, { file: 0, offset: await locateZipEntry(source, entry) });
    } else {
      deflated.push([key, entry]);
    }
  }
  const temporary = headersOnly
    ? pretendStorages(source, deflated, places)
    : await inflateStorages(source, deflated, places, signal);
  return {
    format: 'pth',
    files: temporary === undefined ? [source.file] : [source.file, temporary.file],
    tensors: tensors.map((tensor) => placeTensor(tensor, places, path)),
    metadata: {},
    close: async () => {
      await temporary?.remove();
    },
  };
}

/** The folder that `data.pkl` is in, with its slash. */
function findFolder(entries: ReadonlyMap<string, ZipEntry>, path: string): string {
  const folders = [...entries.keys()].flatMap((name) => /^([^/]*\/)?data\.pkl$/.exec(name)?.[1] ?? []);
  const [folder] = folders;
  if (folder !== undefined && folders.length === 1) {
    if (entries.has(`${folder}constants.pkl`)) {
      throw unsupported(
        path,
        'is a TorchScript program (torch.jit.save), not a file of weights (torch.save)',
      );
    }
    return folder;
  }
  if (folders.length > 1) throw corrupt(path, 'the zip archive holds several data.pkl');
  const names = [...entries.keys()].slice(0, 3).map(quoted).join(', ');
  throw unsupported(path, 'is a zip archive, but not one that torch.save wrote: it holds no data.pkl', {
    expected: 'an entry "<folder>/data.pkl"',
    found: names === '' ? 'no entries' : names,
  });
}

async function checkByteOrder(
  source: Source,
  entry: ZipEntry | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (entry === undefined) return;
  const order = (await readZipEntry(source, entry, signal)).toString('latin1');
  if (order !== 'little') {
    throw unsupported(source.path, 'was written on a big-endian machine', {
      expected: 'byte order "little"',
      found: quoted(order),
    });
  }
}

async function readDataPickle(
  source: Source,
  entry: ZipEntry | undefined,
  signal: AbortSignal | undefined,
): Promise<PickleValue> {
  const { path } = source;
  if (entry === undefined) throw corrupt(path, 'data.pkl is missing');
  const bytes = await readZipEntry(source, entry, signal);
  try {
    const { value, end } = readPickle(bytes, 0, new TorchWorld(path), path);
    if (end !== bytes.length) throw corrupt(path, 'the pickle is followed by something else');
    return value;
  } catch (error) {
    if (error instanceof PickleEnd) throw corrupt(path, 'the pickle ends in the middle');
    throw error;
  }
}

/** The zip entry of each storage that a tensor lies in, its size checked. */
function storageEntries(
  tensors: readonly NamedTensor[],
  entries: ReadonlyMap<string, ZipEntry>,
  folder: string,
  path: string,
): Map<string, ZipEntry> {
  const found = new Map<string, ZipEntry>();
  for (const { name, type, storage } of tensors) {
    if (found.has(storage.key)) continue;
    const entry = entries.get(`${folder}data/${storage.key}`);
    if (entry === undefined) {
      throw corrupt(path, `the storage ${quoted(storage.key)} of the tensor ${quoted(name)} is missing`, {
        tensor: name,
      });
    }
    const bytes = storage.elements * storedTypeBytes[type];
    if (entry.size !== bytes) {
      throw corrupt(
        path,
        `the storage ${quoted(storage.key)} of the tensor ${quoted(name)} has a wrong size`,
        {
          tensor: name,
          expected: `${bytes} bytes`,
          found: `${entry.size} bytes`,
        },
      );
    }
    if (entry.compression === 'deflated') checkRatio(path, entry);
    found.set(storage.key, entry);
  }
  return found;
}

interface Inflated {
  file: SourceFile;
  remove: () => Promise<void>;
}

/** A second file of the directory as {@link inflateStorages} would make it, for those who read nothing of it. */
function pretendStorages(
  { file }: Source,
  deflated: readonly [string, ZipEntry][],
  places: Map<string, StoragePlace>,
): Inflated | undefined {
  if (deflated.length === 0) return undefined;
  let size = 0;
  for (const [key, entry] of deflated) {
    places.set(key, { file: 1, offset: size });
    size += entry.size;
  }
  return { file: { ...file, size, temporary: true }, remove: () => Promise.resolve() };
}

/** Inflates storages into one temporary file, which becomes the second file of the directory. */
async function inflateStorages(
  source: Source,
  deflated: readonly [string, ZipEntry][],
  places: Map<string, StoragePlace>,
  signal: AbortSignal | undefined,
): Promise<Inflated | undefined> {
  if (deflated.length === 0) return undefined;
  const total = deflated.reduce((sum, [, entry]) => sum + entry.size + 64, 0);
  const temporary = await TemporaryFile.create(total);
  try {
    for (const [key, entry] of deflated) {
      places.set(key, { file: 1, offset: await inflateToFile(source, entry, temporary, signal) });
    }
    return { file: await temporary.finish(), remove: () => temporary.remove() };
  } catch (error) {
    await temporary.remove();
    throw error;
  }
}
