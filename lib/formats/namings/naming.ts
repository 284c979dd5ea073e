import type { StoredTensor, TensorDirectory } from '../tensor-directory';

/** What a tensor is in BlinkDL's naming: mostly one tensor. One whose name it does not know stays as it is. */
export type Translation = (tensor: StoredTensor) => StoredTensor[];

/**
 * How somebody calls the tensors of a model, and lays them out: how they become BlinkDL's, for a directory that is in
 * this naming; nothing for any other.
 */
export type Naming = (directory: TensorDirectory) => Translation | undefined;

/** A vector [n] as BlinkDL has most of them, [1, 1, n]. */
export function asRow(tensor: StoredTensor): StoredTensor {
  const { shape, strides } = tensor;
  const [size, step] = [shape[0] ?? 0, strides[0] ?? 0];
  if (shape.length !== 1) return tensor;
  return { ...tensor, shape: [1, 1, size], strides: [size * step, size * step, step] };
}
