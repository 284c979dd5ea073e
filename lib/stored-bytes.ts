import { bytesOfNumbers, type TensorDirectory } from './formats';
import { elementsOf } from './formats/views';

/** What a tensor takes in its file. */
export function storedBytesOf(tensor: TensorDirectory['tensors'][number]): number {
  return tensor.type === 'packed' ? tensor.bytes : bytesOfNumbers(tensor.type, elementsOf(tensor));
}
