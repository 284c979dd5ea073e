import { open } from 'node:fs/promises';
import { openTensorDirectory } from '../../lib/formats';
import { storedTypeBytes, type StoredTensor, type TensorDirectory } from '../../lib/formats/tensor-directory';
import { decodeFloats } from './float16';

/** A tensor with its elements, in order whatever their strides in the file are. */
export interface ReadTensor extends Pick<StoredTensor, 'name' | 'type' | 'shape'> {
  /** Little-endian, as the file has them. */
  bytes: Buffer;
  /** The same as numbers, exactly. */
  values: Float64Array;
}

/** Reads every tensor of a model; meant for small ones. */
export async function readTensors(path: string): Promise<Map<string, ReadTensor>> {
  const directory = await openTensorDirectory(path);
  try {
    return await readDirectory(directory);
  } finally {
    await directory.close();
  }
}

/** Reads every tensor of a directory that is open. */
export async function readDirectory(directory: TensorDirectory): Promise<Map<string, ReadTensor>> {
  const tensors = new Map<string, ReadTensor>();
  for (const [index, file] of directory.files.entries()) {
    const handle = await open(file.path);
    try {
      const bytes = await handle.readFile();
      for (const tensor of directory.tensors) {
        if (tensor.type === 'packed') throw new Error(`${tensor.name} is packed`);
        if (tensor.file === index) tensors.set(tensor.name, gather(tensor, bytes));
      }
    } finally {
      await handle.close();
    }
  }
  return tensors;
}

function gather(tensor: StoredTensor, file: Buffer): ReadTensor {
  const { name, type, shape, offset } = tensor;
  const width = storedTypeBytes[type];
  const places = placesOf(tensor);
  const bytes = Buffer.alloc(places.length * width);
  for (let element = 0; element < places.length; element++) {
    const from = offset + places[element]! * width;
    for (let byte = 0; byte < width; byte++) bytes[element * width + byte] = file[from + byte]!;
  }
  return { name, type, shape, bytes, values: decodeFloats(type, bytes) };
}

/** Where the elements of a tensor lie, in order, counted in elements from its first. */
function placesOf({ shape, strides }: StoredTensor): number[] {
  let places = [0];
  for (const [axis, size] of shape.entries()) {
    const stride = strides[axis]!;
    places = places.flatMap((place) => Array.from({ length: size }, (_, index) => place + index * stride));
  }
  return places;
}
