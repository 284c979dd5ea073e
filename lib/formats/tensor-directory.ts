import type { QuantizedPrecision } from '../quantized';

/** Element types that weights are stored in. */
export type StoredType = 'f32' | 'f16' | 'bf16';

/** Bytes of one element. */
export const storedTypeBytes: Readonly<Record<StoredType, number>> = { f32: 4, f16: 2, bf16: 2 };

/** One file that tensors are read from, with what it looked like when its header was read. */
export interface SourceFile {
  /** Absolute path. */
  path: string;
  /** Size in bytes. */
  size: number;
  /** Device, inode and time of the last change: the native reader compares them when it opens the file again. */
  device: bigint;
  inode: bigint;
  modifiedNs: bigint;
}

interface TensorPlace {
  /** The name as BlinkDL publishes it, for example `blocks.0.att.key.weight`. */
  name: string;
  /** Dimensions, outermost first; a scalar has none. */
  shape: readonly number[];
  /** Index into `TensorDirectory.files`. */
  file: number;
  /** Byte offset in that file of the element with index 0 in every dimension, or of the block. */
  offset: number;
}

/** Where the elements of one tensor lie. */
export interface StoredTensor extends TensorPlace {
  type: StoredType;
  /** Elements between neighbours along each dimension; not negative (0 where a dimension is expanded). */
  strides: readonly number[];
}

/** A matrix that a packed file has as the engine keeps it, in one block of bytes. */
export interface PackedTensor extends TensorPlace {
  type: 'packed';
  bytes: number;
  /** Columns that share a scale; 0: all of a row. */
  group: number;
  weights: QuantizedPrecision;
}

export type TensorEntry = StoredTensor | PackedTensor;

/** What a file's header says: names, types, shapes and places of its tensors, all of them inside their files. */
export interface TensorDirectory {
  format: 'pth' | 'safetensors' | 'packed safetensors';
  files: readonly SourceFile[];
  tensors: readonly TensorEntry[];
  /** Text pairs that the file carries beside its tensors (safetensors `__metadata__`, Hugging Face config). */
  metadata: Readonly<Record<string, string>>;
  /** Of a packed file: what its matrices are kept in, and the fingerprint of the weights that it was made from. */
  packed?: { weights: QuantizedPrecision; fingerprint: string };
  /** Removes temporary files, if reading the header made any; call it once the tensors have been read. */
  close(): Promise<void>;
}
