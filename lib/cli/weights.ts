import { library } from './library';
import type { StoredType, TensorDirectory } from '../formats';
import type { NativeModelInfo, Precision } from '../native';
import { isQuantized } from '../quantized';

/** Less than this may stay in the processor's caches, and then memory is not the limit. */
const cacheable = 256 * 2 ** 20;

/** How many bytes of weights a token that is generated reads: all but the embedding, of which one row is looked up. */
export function bytesOfToken(
  weightBytes: number,
  embeddingType: StoredType,
  { vocabulary, embedding }: Pick<NativeModelInfo, 'vocabulary' | 'embedding'>,
): number {
  return weightBytes - (vocabulary - 1) * embedding * library().storedTypeBytes[embeddingType];
}

/** Whether so many bytes have to come from memory for every token. */
export function isSetByMemory(bytesPerToken: number): boolean {
  return bytesPerToken >= cacheable;
}

/** The type of the embedding in memory, with matrices kept as `weights`: beside quantized ones it is the file's own. */
export function embeddingType({ tensors }: TensorDirectory, weights: Precision): StoredType {
  if (!isQuantized(weights)) return weights;
  const type = tensors.find(({ name }) => name === 'emb.weight')?.type;
  return type === undefined || type === 'packed' ? 'f32' : type;
}

/** Bytes of the tensors by what the file has them in. */
export function storedBytes({ tensors }: TensorDirectory): Partial<Record<Precision, number>> {
  const { storedTypeBytes } = library();
  const sums: Partial<Record<Precision, number>> = {};
  for (const tensor of tensors) {
    const isPacked = tensor.type === 'packed';
    const type = isPacked ? tensor.weights : tensor.type;
    const bytes = isPacked
      ? tensor.bytes
      : tensor.shape.reduce((a, b) => a * b, storedTypeBytes[tensor.type]);
    sums[type] = (sums[type] ?? 0) + bytes;
  }
  return sums;
}

/** The type that most of the elements have, where nothing is packed. */
export function mostOf(stored: Partial<Record<Precision, number>>): StoredType {
  const { storedTypeBytes } = library();
  const elements = (type: StoredType): number => (stored[type] ?? 0) / storedTypeBytes[type];
  return (['f32', 'f16', 'bf16'] as const).reduce((best, type) =>
    elements(type) > elements(best) ? type : best,
  );
}
