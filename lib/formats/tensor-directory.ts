import type { QuantizedPrecision } from '../quantized';
import type { ParsedVocabulary } from '../vocabulary';

/** Element types that weights are stored in, each number by itself. */
export type StoredType = 'f32' | 'f16' | 'bf16';

/** Bytes of one element. */
export const storedTypeBytes: Readonly<Record<StoredType, number>> = { f32: 4, f16: 2, bf16: 2 };

/** ggml's types, which store blocks of numbers that share scales: native/kernels/dequantize. */
export type BlockType =
  | ('q8_0' | 'q4_0' | 'q4_1' | 'q5_0' | 'q5_1')
  | ('q2_k' | 'q3_k' | 'q4_k' | 'q5_k' | 'q6_k' | 'iq4_nl' | 'iq4_xs');

/** How many numbers a block has, and in how many bytes. */
export const blockForms: Readonly<Record<BlockType, { numbers: number; bytes: number }>> = {
  q8_0: { numbers: 32, bytes: 34 },
  q4_0: { numbers: 32, bytes: 18 },
  q4_1: { numbers: 32, bytes: 20 },
  q5_0: { numbers: 32, bytes: 22 },
  q5_1: { numbers: 32, bytes: 24 },
  q2_k: { numbers: 256, bytes: 84 },
  q3_k: { numbers: 256, bytes: 110 },
  q4_k: { numbers: 256, bytes: 144 },
  q5_k: { numbers: 256, bytes: 176 },
  q6_k: { numbers: 256, bytes: 210 },
  iq4_nl: { numbers: 32, bytes: 18 },
  iq4_xs: { numbers: 256, bytes: 136 },
};

export function isBlockType(type: string): type is BlockType {
  return Object.hasOwn(blockForms, type);
}

/** Numbers and bytes of the smallest part of a type that stands by itself. */
export function formOf(type: StoredType | BlockType): { numbers: number; bytes: number } {
  return isBlockType(type) ? blockForms[type] : { numbers: 1, bytes: storedTypeBytes[type] };
}

/** What so many numbers take. */
export function bytesOfNumbers(type: StoredType | BlockType, count: number): number {
  const { numbers, bytes } = formOf(type);
  return (count / numbers) * bytes;
}

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
  /** Whether it was made while the model was opened, of what another of its files holds. */
  temporary: boolean;
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

/** Where the elements of one tensor lie, and what has to be done to them. */
export interface StoredTensor extends TensorPlace {
  type: StoredType | BlockType;
  /**
   * Elements between neighbours along each dimension; not negative (0 where a dimension is expanded). Those of blocks are
   * counted as if they lay one after another: 1 along one dimension, whole blocks along the others.
   */
  strides: readonly number[];
  /** The function that the file's writer has applied to the numbers; loading takes it back. */
  applied?: 'exp' | '-exp' | 'exp(-exp)' | undefined;
  /** A power of two that the numbers have to be multiplied by. */
  scale?: number | undefined;
}

/** Whether the stored numbers are the tensor's as they are. */
function isPlain(tensor: StoredTensor): tensor is StoredTensor & { type: StoredType } {
  return !isBlockType(tensor.type) && tensor.applied === undefined && (tensor.scale ?? 1) === 1;
}

/** The type that is left when a tensor's blocks are dequantized, and what was done to its numbers is undone. */
export function plainType(tensor: StoredTensor): StoredType {
  if (isPlain(tensor)) return tensor.type;
  // Rows of the embedding, which are looked up, lose nothing that matters: see shown_type of native/engine.
  if (tensor.name !== 'emb.weight') return 'f32';
  return isBlockType(tensor.type) ? 'f16' : tensor.type;
}

/** A matrix that a packed file has as the engine keeps it, in one block of bytes. */
interface PackedTensor extends TensorPlace {
  type: 'packed';
  bytes: number;
  /** Columns that share a scale; 0: all of a row. */
  group: number;
  weights: QuantizedPrecision;
}

export type TensorEntry = StoredTensor | PackedTensor;

/** What a file's header says: names, types, shapes and places of its tensors, all of them inside their files. */
export interface TensorDirectory {
  format: 'pth' | 'safetensors' | 'packed safetensors' | 'gguf' | 'rwkv.cpp';
  files: readonly SourceFile[];
  tensors: readonly TensorEntry[];
  /** What the file calls, or would call, the tensor that has this name here, where its names are not BlinkDL's. */
  ownName?: ((name: string) => string) | undefined;
  /** Text pairs that the file carries beside its tensors (safetensors `__metadata__`, Hugging Face config, GGUF). */
  metadata: Readonly<Record<string, string>>;
  /** The bytes of the tokens, where the file has them, and the id that ends a text. */
  vocabulary?: (ParsedVocabulary & { endOfText: number }) | undefined;
  /** Of a packed file: what its matrices are kept in, and the fingerprint of the weights that it was made from. */
  packed?: { weights: QuantizedPrecision; fingerprint: string } | undefined;
  /** Removes temporary files, if reading the header made any; call it once the tensors have been read. */
  close(): Promise<void>;
}
