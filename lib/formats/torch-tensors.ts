import { corrupt, unsupported } from './failures';
import { countElements, lastIndex, shapeText } from './layout';
import { maxTensors } from './limits';
import { describeValue, PickleDict, type PickleValue } from './pickle-values';
import { storedTypeBytes, type StoredType, type TensorEntry } from './tensor-directory';
import { isCount, type Storage, TorchTensor } from './torch';
import { quoted } from '../quoted';

/** Where the elements of a storage begin. */
export interface StoragePlace {
  file: number;
  offset: number;
}

/** A tensor with a name, of a supported type, that lies within its storage. */
export interface NamedTensor {
  name: string;
  type: StoredType;
  shape: readonly number[];
  strides: readonly number[];
  storage: Storage;
  /** In elements from the beginning of what the file holds under the storage's key. */
  offset: number;
}

/** Where checkpoints that hold more than weights keep the weights. */
const wrappers = ['state_dict', 'model_state_dict', 'model', 'module'];

/**
 * The tensors of the dict that a pickle's dict holds under one of these names, or else of that dict itself.
 * What else lies beside them is passed over: the step of a training, a tensor perhaps.
 */
export function collectTensors(value: PickleValue, path: string): NamedTensor[] {
  const outer = value instanceof PickleDict ? value.entries : new Map<PickleValue, PickleValue>();
  for (const candidate of [...wrappers.map((name) => outer.get(name)), value]) {
    const tensors = tensorsOf(candidate, path);
    if (tensors.length > 0) return tensors;
  }
  throw corrupt(path, 'holds no tensors', {
    expected: 'a dict of tensors',
    found: value instanceof PickleDict ? describeKeys(outer) : describeValue(value),
  });
}

function describeKeys(dict: ReadonlyMap<PickleValue, PickleValue>): string {
  const keys = [...dict.keys()]
    .slice(0, 8)
    .map((key) => (typeof key === 'string' ? quoted(key) : describeValue(key)));
  return `a dict of ${keys.join(', ') || 'nothing'}${dict.size > keys.length ? ' and more' : ''}`;
}

function tensorsOf(value: PickleValue | undefined, path: string): NamedTensor[] {
  const tensors: NamedTensor[] = [];
  for (const [name, item] of value instanceof PickleDict ? value.entries : []) {
    if (!(item instanceof TorchTensor)) continue;
    if (typeof name !== 'string') {
      throw corrupt(path, `a tensor has ${describeValue(name)} for a name`);
    }
    tensors.push(checkTensor(name, item, path));
    if (tensors.length > maxTensors) throw corrupt(path, `holds more than ${maxTensors} tensors`);
  }
  return tensors;
}

function checkTensor(name: string, tensor: TorchTensor, path: string): NamedTensor {
  const { storage } = tensor;
  const { stored, dtype } = storage.type;
  if (stored === undefined) {
    throw unsupported(path, `the tensor ${quoted(name)} is of type ${dtype}`, {
      tensor: name,
      expected: 'float32, float16 or bfloat16',
      found: dtype,
    });
  }
  const [mark] = tensor.marks;
  if (mark !== undefined) {
    throw unsupported(path, `the tensor ${quoted(name)} has the mark ${quoted(mark)}`, {
      ...{ tensor: name, expected: 'the numbers as they are in the file', found: mark },
    });
  }
  countElements(path, name, tensor.shape);
  const shape = tensor.shape.filter(isCount);
  const strides = tensor.strides.filter(isCount);
  if (strides.length !== tensor.strides.length || strides.length !== shape.length) {
    throw corrupt(
      path,
      `the tensor ${quoted(name)} of shape ${shapeText(shape)} has impossible strides ${shapeText(tensor.strides)}`,
      { tensor: name },
    );
  }
  // Rounding in this sum can only happen beyond 2^53, far outside of any storage.
  const last = tensor.offset + lastIndex(shape, strides);
  if (last >= storage.viewElements) {
    throw corrupt(path, `the tensor ${quoted(name)} reaches beyond its storage ${quoted(storage.key)}`, {
      tensor: name,
      expected: `an index below ${storage.viewElements}`,
      found: String(last),
    });
  }
  return { name, type: stored, shape, strides, storage, offset: storage.viewOffset + tensor.offset };
}

/** Adds the place of the storage to a tensor. */
export function placeTensor(
  tensor: NamedTensor,
  places: ReadonlyMap<string, StoragePlace>,
  path: string,
): TensorEntry {
  const place = places.get(tensor.storage.key);
  if (place === undefined) throw corrupt(path, `the storage ${quoted(tensor.storage.key)} is missing`);
  const { name, type, shape, strides } = tensor;
  return {
    name,
    type,
    shape,
    strides,
    file: place.file,
    offset: place.offset + tensor.offset * storedTypeBytes[type],
  };
}
