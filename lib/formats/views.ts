import { contiguousStrides } from './layout';
import { bytesOfNumbers, type StoredTensor } from './tensor-directory';

// Tensors of ggml's files, which lie without gaps, as BlinkDL shapes them. What was transposed for ggml is one
// again by its strides.

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

/** With its last two dimensions exchanged; of two or more dimensions. */
export function transposed(tensor: StoredTensor, name: string): StoredTensor {
  const swap = (values: readonly number[]): number[] => [
    ...values.slice(0, -2),
    ...values.slice(-2).reverse(),
  ];
  return { ...tensor, name, shape: swap(tensor.shape), strides: swap(tensor.strides) };
}

/** Several tensors for channels that lie one after another; there are whole blocks of each. */
export function separated(tensor: StoredTensor, names: readonly string[]): StoredTensor[] {
  const channels = elementsOf(tensor) / names.length;
  return names.map((name, index) => ({
    ...reshaped(tensor, name, [1, 1, channels]),
    offset: tensor.offset + bytesOfNumbers(tensor.type, index * channels),
  }));
}
