import { encodeNumbers, type GgmlType } from './gguf-writer';
import { uint32 } from './zip-writer';

/** rwkv.cpp's numbers for types. */
const typeCodes: Readonly<Record<string, number>> = {
  ...{ f32: 0, f16: 1, q4_0: 2, q4_1: 3, q5_0: 7, q5_1: 8, q8_0: 9 },
  ...{ q2_k: 11, q3_k: 12, q4_k: 13, q5_k: 14, q6_k: 15 },
};

export interface RwkvCppWritable {
  name: string;
  type: GgmlType;
  /** Outermost first. */
  shape: readonly number[];
  data: ArrayLike<number>;
}

interface RwkvCppHeader {
  version?: number;
  vocabulary: number;
  embedding: number;
  layers: number;
  type?: number;
}

export function rwkvCppHeader({
  version = 101,
  vocabulary,
  embedding,
  layers,
  type = 0,
}: RwkvCppHeader): Buffer {
  return Buffer.concat(
    [0x67676d66, version, vocabulary, embedding, layers, type].map((value) => uint32(value)),
  );
}

/** The description of a tensor, with its name. */
export function rwkvCppTensor(name: string | Uint8Array, shape: readonly number[], type: number): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([
    ...[shape.length, bytes.length, type, ...[...shape].reverse()].map((value) => uint32(value)),
    bytes,
  ]);
}

/** A file with these tensors as they are. */
export function rwkvCppBytes(header: RwkvCppHeader, tensors: readonly RwkvCppWritable[]): Buffer {
  return Buffer.concat([
    rwkvCppHeader(header),
    ...tensors.flatMap(({ name, type, shape, data }) => [
      rwkvCppTensor(name, shape, typeCodes[type]!),
      encodeNumbers(type, data),
    ]),
  ]);
}

/** What rwkv.cpp's converter makes of a model of RWKV-5.2 with BlinkDL's names and shapes, in f32. */
export function rwkvCppTensors5(
  tensors: readonly { name: string; shape: readonly number[]; data: ArrayLike<number> }[],
): RwkvCppWritable[] {
  return tensors.map(({ name, shape, data }) => {
    const numbers = Array.from(data);
    const own = { name, type: 'f32' as const, shape, data: numbers };
    if (name.endsWith('.time_decay')) {
      return { ...own, shape: [...shape, 1], data: numbers.map((decay) => Math.exp(-Math.exp(decay))) };
    }
    if (name.endsWith('.time_faaaa')) return { ...own, shape: [...shape, 1] };
    return name.includes('.time_') ? { ...own, shape: shape.filter((size) => size !== 1) } : own;
  });
}
