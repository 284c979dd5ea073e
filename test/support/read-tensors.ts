import { open } from 'node:fs/promises';
import { openTensorDirectory } from '../../lib/formats';
import {
  blockForms,
  isBlockType,
  storedTypeBytes,
  type StoredTensor,
  type TensorDirectory,
} from '../../lib/formats/tensor-directory';
import { decodeFloats } from './float16';
import { decodeBlocks } from './ggml-blocks';

/** A tensor with its elements, in order whatever their strides in the file are. */
export interface ReadTensor extends Pick<StoredTensor, 'name' | 'type' | 'shape'> {
  /** Little-endian, as the file has them; blocks in the order of the file. */
  bytes: Buffer;
  /** The tensor's numbers, exactly. */
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
async function readDirectory(directory: TensorDirectory): Promise<Map<string, ReadTensor>> {
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
  const places = placesOf(tensor);
  if (isBlockType(type)) {
    const { numbers, bytes: width } = blockForms[type];
    const last = places.reduce((most, place) => Math.max(most, place), 0);
    const bytes = file.subarray(offset, offset + ((last + 1) / numbers) * width);
    const stored = decodeBlocks(type, bytes);
    return {
      name,
      type,
      shape,
      bytes,
      values: restored(
        tensor,
        Float64Array.from(places, (i) => stored[i]!),
      ),
    };
  }
  const width = storedTypeBytes[type];
  const bytes = Buffer.alloc(places.length * width);
  for (let element = 0; element < places.length; element++) {
    const from = offset + places[element]! * width;
    for (let byte = 0; byte < width; byte++) bytes[element * width + byte] = file[from + byte]!;
  }
  return { name, type, shape, bytes, values: restored(tensor, decodeFloats(type, bytes)) };
}

/** What the file's writer did to the numbers, taken back. */
function restored({ applied, scale = 1 }: StoredTensor, values: Float64Array): Float64Array {
  const undo = {
    exp: (value: number) => Math.log(value),
    '-exp': (value: number) => Math.log(-value),
    'exp(-exp)': (value: number) => Math.log(-Math.log(value)),
  };
  return values.map((value) => (applied === undefined ? value : undo[applied](value)) * scale);
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
