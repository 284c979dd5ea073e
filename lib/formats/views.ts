import { contiguousStrides } from './layout';
import { bytesOfNumbers, type StoredTensor } from './tensor-directory';

// What other programs have made of BlinkDL's tensors, taken back: by shapes and strides, where they lie. All but what is
// transposed have to lie without gaps, as they do in ggml's files.

/** The number of elements. */
export function elementsOf({ shape }: Pick<StoredTensor, 'shape'>): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The same elements in the same order, in another shape. */
export function reshaped(tensor: StoredTensor, name: string, shape: readonly number[]): StoredTensor {
  return { ...tensor, name, shape, strides: contiguousStrides(shape) };
}

/** Elements for as many channels, `[1, 1, channels]`. */
export function perChannel(tensor: StoredTensor, name: string): StoredTensor {
  return reshaped(tensor, name, [1, 1, elementsOf(tensor)]);
}

/** A matrix with its rows as columns, or each matrix of a stack; a vector as it is. */
export function transposed(tensor: StoredTensor): StoredTensor {
  const swap = (numbers: readonly number[]): number[] => [
    ...numbers.slice(0, -2),
    ...numbers.slice(-2).reverse(),
  ];
  return { ...tensor, shape: swap(tensor.shape), strides: swap(tensor.strides) };
}

/** Several tensors for channels that lie one after another; there are whole blocks of each. */
export function separated(tensor: StoredTensor, names: readonly string[]): StoredTensor[] {
  const channels = elementsOf(tensor) / names.length;
  return names.map((name, index) => ({
    ...reshaped(tensor, name, [1, 1, channels]),
    offset: tensor.offset + bytesOfNumbers(tensor.type, index * channels),
  }));
}
