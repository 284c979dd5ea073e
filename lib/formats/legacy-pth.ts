import { corrupt, unsupported } from './failures';
import { maxHeaderBytes, maxTensors } from './limits';
import { readPickle } from './pickle';
import { PickleEnd } from './pickle-bytes';
import type { PickleWorld } from './pickle-machine';
import { PickleDict, PickleList, type PickleValue } from './pickle-values';
import type { FormatReader } from './reader';
import type { Source } from './source';
import type { TensorDirectory } from './tensor-directory';
import { TorchWorld } from './torch';
import { collectTensors, placeTensor, type StoragePlace } from './torch-tensors';
import { quoted } from '../quoted';

const magicNumber = 0x1950a86a20f9469cfc6cn;
const protocolVersion = 1001;
const firstWindow = 1 << 20;

/**
 * torch.save before 1.6: five pickles one after the other (magic number, protocol version, facts about the
 * machine, the object, the list of storage keys), then for each key the number of elements as int64 and the
 * elements.
 */
export const legacyPthReader: FormatReader = {
  matches: (head) => head[0] === 0x80 && (head[1] ?? 0) <= 5,
  read: readLegacyPth,
};

async function readLegacyPth(source: Source): Promise<TensorDirectory> {
  const { path } = source;
  const world = new TorchWorld(path);
  const pickles = new PickleSequence(source, world);
  if ((await pickles.next()) !== magicNumber) {
    throw unsupported(path, 'is a Python pickle, but not one that torch.save wrote');
  }
  const version = await pickles.next();
  if (version !== protocolVersion) {
    throw unsupported(path, 'was written by an unknown version of torch', {
      expected: `protocol version ${protocolVersion}`,
      found: typeof version === 'number' ? String(version) : 'something else',
    });
  }
  checkMachine(await pickles.next(), path);
  const tensors = collectTensors(await pickles.next(), path);
  const keys = storageKeys(await pickles.next(), path);
  const places = await findStorages(source, pickles.position, keys, world);
  return {
    format: 'pth',
    files: [source.file],
    tensors: tensors.map((tensor) => placeTensor(tensor, places, path)),
    metadata: {},
    close: () => Promise.resolve(),
  };
}

/** Pickles that follow each other in a file without saying how long they are. */
class PickleSequence {
  position = 0;
  private window: Buffer = Buffer.alloc(0);
  /** Place of the window in the file. */
  private windowStart = 0;

  constructor(
    private readonly source: Source,
    private readonly world: PickleWorld,
  ) {}

  async next(): Promise<PickleValue> {
    const { path, size } = this.source;
    for (let bytes = firstWindow; ; bytes *= 4) {
      const length = Math.min(bytes, maxHeaderBytes, size - this.position);
      await this.show(length);
      try {
        const start = this.position - this.windowStart;
        const { value, end } = readPickle(this.window, start, this.world, path);
        this.position = this.windowStart + end;
        return value;
      } catch (error) {
        if (!(error instanceof PickleEnd)) throw error;
        if (this.position + length === size) {
          throw corrupt(path, 'the file ends inside a pickle: it is truncated or no torch file', {
            cause: error,
          });
        }
        if (length === maxHeaderBytes) throw corrupt(path, `a pickle has more than ${maxHeaderBytes} bytes`);
      }
    }
  }

  /** Makes sure that the window holds `length` bytes from the position on. */
  private async show(length: number): Promise<void> {
    if (this.position + length <= this.windowStart + this.window.length) return;
    this.window = await this.source.read(this.position, length, 'a pickle');
    this.windowStart = this.position;
  }
}

function checkMachine(facts: PickleValue, path: string): void {
  if (!(facts instanceof PickleDict)) throw corrupt(path, 'says nothing about the machine it was written on');
  if (facts.entries.get('little_endian') !== true) {
    throw unsupported(path, 'was written on a big-endian machine', { expected: 'little-endian numbers' });
  }
}

function storageKeys(value: PickleValue, path: string): string[] {
  const keys = value instanceof PickleList ? value.items.filter((key) => typeof key === 'string') : [];
  if (
    !(value instanceof PickleList) ||
    keys.length !== value.items.length ||
    new Set(keys).size !== keys.length
  ) {
    throw corrupt(path, 'the list of storages is damaged');
  }
  // Each is read by itself.
  if (keys.length > maxTensors) throw corrupt(path, `holds more than ${maxTensors} storages`);
  return keys;
}

/** Walks over the storages, which fill the rest of the file. */
async function findStorages(
  source: Source,
  start: number,
  keys: readonly string[],
  world: TorchWorld,
): Promise<Map<string, StoragePlace>> {
  const { path, size } = source;
  const places = new Map<string, StoragePlace>();
  let position = start;
  for (const key of keys) {
    const storage = world.storages.get(key);
    if (storage === undefined) throw corrupt(path, `nothing says what the storage ${quoted(key)} holds`);
    const count = (await source.read(position, 8, `the storage ${quoted(key)}`)).readBigInt64LE(0);
    if (count !== BigInt(storage.elements)) {
      throw corrupt(path, `the storage ${quoted(key)} has a wrong size`, {
        expected: `${storage.elements} elements`,
        found: `${count} elements`,
      });
    }
    const end = position + 8 + storage.elements * storage.type.bytes;
    if (end > size) {
      throw corrupt(path, `the file ends inside the storage ${quoted(key)}`, {
        expected: `at least ${end} bytes`,
        found: `${size} bytes`,
      });
    }
    places.set(key, { file: 0, offset: position + 8 });
    position = end;
  }
  if (position !== size) {
    throw corrupt(path, 'the last storage is followed by something else', {
      expected: `${position} bytes`,
      found: `${size} bytes`,
    });
  }
  return places;
}
