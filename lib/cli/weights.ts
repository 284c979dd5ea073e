import { library } from './library';
import type { BlockType, StoredType, TensorDirectory } from '../formats';
import type { NativeModelInfo } from '../native';
import { isQuantized, type Precision } from '../quantized';

/** Less than this may stay in the processor's caches, and then memory is not the limit. */
const cacheable = 256 * 2 ** 20;

/** How many bytes of weights a token that is generated reads: all but the embedding, of which one row is looked up. */
export function bytesOfToken(
  directory: TensorDirectory,
  info: Pick<NativeModelInfo, 'weights' | 'weightBytes' | 'vocabulary' | 'embedding'>,
): number {
  const type = embeddingType(directory, info.weights);
  return info.weightBytes - (info.vocabulary - 1) * info.embedding * library().storedTypeBytes[type];
}

/** Whether so many bytes have to come from memory for every token. */
export function isSetByMemory(bytesPerToken: number): boolean {
  return bytesPerToken >= cacheable;
}

/** The type of the embedding in memory, with matrices kept as `weights`: beside quantized ones the file's, blocks as f16. */
function embeddingType({ tensors }: TensorDirectory, weights: Precision): StoredType {
  if (!isQuantized(weights)) return weights;
  const type = tensors.find(({ name }) => name === 'emb.weight')?.type;
  if (type === undefined || type === 'packed') return 'f32';
  return library().isBlockType(type) ? 'f16' : type;
}

/** What a file has numbers in. */
export type Storage = Precision | BlockType;

/** Bytes of the tensors by what the file has them in. */
export function storedBytes({ tensors }: TensorDirectory): Partial<Record<Storage, number>> {
  const { storedBytesOf } = library();
  const sums: Partial<Record<Storage, number>> = {};
  for (const tensor of tensors) {
    const type = tensor.type === 'packed' ? tensor.weights : tensor.type;
    sums[type] = (sums[type] ?? 0) + storedBytesOf(tensor);
  }
  return sums;
}

/** The type that most of the numbers have, where nothing is packed. */
export function commonType({ tensors }: TensorDirectory): StoredType | BlockType {
  const { elementsOf } = library();
  const counts = new Map<StoredType | BlockType, number>([['f32', 0]]);
  for (const tensor of tensors) {
    if (tensor.type === 'packed') continue;
    counts.set(tensor.type, (counts.get(tensor.type) ?? 0) + elementsOf(tensor));
  }
  return [...counts].reduce((best, each) => (each[1] > best[1] ? each : best))[0];
}
