import type { TensorDirectory } from '../formats';
import { chatTemplateEntry } from '../formats/chat-template';
import { layOutElements } from '../formats/elements';
import { layOutPacked } from '../formats/packed';
import { native, type NativeDestination, type NativeJob, type NativeProgress } from '../native';
import { isQuantized, type ElementType, type Precision, type QuantizedPrecision } from '../quantized';

/** A file that is to be written. */
interface Plan {
  /** Its size. */
  bytes: number;
  /** Writes it; of a packed file, gives the fingerprint. */
  write: (destination: NativeDestination, onProgress: NativeProgress) => NativeJob<string | true>;
}

/** What a conversion of a model's tensors to these weights writes. Throws what the layout, or native code, refuses. */
export function planConversion(directory: TensorDirectory, weights: Precision): Plan {
  return isQuantized(weights) ? planPacked(directory, weights) : planElements(directory, weights);
}

function planPacked(directory: TensorDirectory, weights: QuantizedPrecision): Plan {
  const matrices = native.planConversion(directory, weights);
  const others = othersThan(matrices, directory);
  const { bytes, ...layout } = layOutPacked(weights, matrices, others, chatTemplateEntry(directory));
  return {
    bytes,
    write: (destination, onProgress) =>
      native.convertModel(directory, { ...destination, weights, ...layout }, onProgress),
  };
}

/** The tensors that are not packed. */
function othersThan(matrices: readonly { name: string }[], { tensors }: TensorDirectory) {
  const packed = new Set(matrices.map(({ name }) => name));
  return tensors.flatMap((tensor) => (tensor.type === 'packed' || packed.has(tensor.name) ? [] : [tensor]));
}

function planElements(directory: TensorDirectory, type: ElementType): Plan {
  const { bytes, ...layout } = layOutElements(type, directory);
  return {
    bytes,
    write: (destination, onProgress) =>
      native.convertElements(directory, { ...destination, type, ...layout }, onProgress),
  };
}
