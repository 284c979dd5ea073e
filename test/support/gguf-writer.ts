import { encodeFloats } from './float16';
import { type BlockType, blockTypes, encodeBlocks } from './ggml-blocks';
import { uint32, uint64 } from './zip-writer';

/** ggml's numbers for types. */
const typeCodes: Readonly<Record<string, number>> = {
  ...{ f32: 0, f16: 1, q4_0: 2, q4_1: 3, q5_0: 6, q5_1: 7, q8_0: 8 },
  ...{ q2_k: 10, q3_k: 11, q4_k: 12, q5_k: 13, q6_k: 14, iq4_nl: 20, iq4_xs: 23, bf16: 30 },
};

export type GgmlType = 'f32' | 'f16' | 'bf16' | BlockType;

/** The numbers as a file has them. */
export function encodeNumbers(type: GgmlType, values: ArrayLike<number>): Buffer {
  const block = blockTypes.find((each) => each === type);
  return block === undefined
    ? encodeFloats(type as 'f32' | 'f16' | 'bf16', values)
    : encodeBlocks(block, values);
}

export interface GgufWritable {
  name: string;
  type: GgmlType;
  /** Outermost first. */
  shape: readonly number[];
  data: ArrayLike<number>;
}

type Scalar = 'uint8' | 'int8' | 'uint16' | 'int16' | 'uint32' | 'int32' | 'float32' | 'bool' | 'string';
type GgufType = Scalar | 'uint64' | 'int64' | 'float64';
const valueCodes: readonly string[] = [
  ...['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'bool', 'string', 'array'],
  ...['uint64', 'int64', 'float64'],
];

/** A value of metadata: its type, and it; an array has the type of its elements. */
export type GgufEntry =
  | readonly [type: GgufType, value: number | bigint | string | Uint8Array | boolean]
  | readonly [type: 'array', of: GgufType, values: readonly (number | bigint | string | Uint8Array)[]];

export interface GgufOptions {
  version?: number;
  alignment?: number;
  metadata?: Readonly<Record<string, GgufEntry>>;
  /** Whether the last tensor is filled up to the alignment, too. */
  padEnd?: boolean;
}

/** A string as the format has it. */
export function ggufString(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function scalar(type: GgufType, value: number | bigint | string | Uint8Array | boolean): Buffer {
  if (type === 'string') return ggufString(value as string | Uint8Array);
  if (type === 'bool') return Buffer.of(Number(value));
  if (type === 'uint64') return uint64(BigInt(value as number));
  const width = {
    uint8: 1,
    int8: 1,
    uint16: 2,
    int16: 2,
    uint32: 4,
    int32: 4,
    float32: 4,
    int64: 8,
    float64: 8,
  };
  const bytes = Buffer.alloc(width[type]);
  if (type === 'float32') bytes.writeFloatLE(value as number);
  else if (type === 'float64') bytes.writeDoubleLE(value as number);
  else if (type === 'int64') bytes.writeBigInt64LE(BigInt(value as number));
  else if (type.startsWith('u')) bytes.writeUIntLE(value as number, 0, width[type]);
  else bytes.writeIntLE(value as number, 0, width[type]);
  return bytes;
}

/** An entry of the metadata without its key. */
export function ggufValue(entry: GgufEntry): Buffer {
  const code = uint32(valueCodes.indexOf(entry[0]));
  if (entry[0] !== 'array') return Buffer.concat([code, scalar(entry[0], entry[1])]);
  const [, of, values] = entry;
  return Buffer.concat([
    ...[code, uint32(valueCodes.indexOf(of)), uint64(values.length)],
    ...values.map((value) => scalar(of, value)),
  ]);
}

/** The description of a tensor. */
export function ggufTensor(
  name: string,
  shape: readonly number[],
  type: number,
  offset: number | bigint,
): Buffer {
  return Buffer.concat([
    ...[ggufString(name), uint32(shape.length)],
    ...[...shape].reverse().map((size) => uint64(size)),
    ...[uint32(type), uint64(offset)],
  ]);
}

/** Everything before the data, the filling not included. */
export function ggufHeader(
  version: number,
  entries: readonly Buffer[],
  tensors: readonly Buffer[],
  counts: { tensors?: number | bigint; entries?: number | bigint } = {},
): Buffer {
  return Buffer.concat([
    ...[Buffer.from('GGUF'), uint32(version)],
    ...[uint64(counts.tensors ?? tensors.length), uint64(counts.entries ?? entries.length)],
    ...entries,
    ...tensors,
  ]);
}

/** A GGUF file with these tensors in this order. */
export function ggufBytes(
  tensors: readonly GgufWritable[],
  { version = 3, alignment = 32, metadata = {}, padEnd = true }: GgufOptions = {},
): Buffer {
  const filled = (bytes: Buffer): Buffer =>
    Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment)]);
  let offset = 0;
  const contents = tensors.map(({ type, data }) => encodeNumbers(type, data));
  const places = tensors.map(({ name, shape, type }, i) => {
    const place = ggufTensor(name, shape, typeCodes[type]!, offset);
    offset += filled(contents[i]!).length;
    return place;
  });
  const entries = Object.entries(metadata).map(([key, entry]) =>
    Buffer.concat([ggufString(key), ggufValue(entry)]),
  );
  const header = ggufHeader(version, entries, places);
  const last = contents.length - 1;
  const data = contents.map((bytes, i) => (i < last || padEnd ? filled(bytes) : bytes));
  return Buffer.concat([filled(header), ...data]);
}
