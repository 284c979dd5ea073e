import type { BlockType, StoredType } from './tensor-directory';

/** ggml's element types that are read, by their names. */
const readTypes: ReadonlyMap<string, StoredType | BlockType> = new Map<string, StoredType | BlockType>([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['Q8_0', 'q8_0'],
  ['Q4_0', 'q4_0'],
  ['Q4_1', 'q4_1'],
  ['Q5_0', 'q5_0'],
  ['Q5_1', 'q5_1'],
  ['Q2_K', 'q2_k'],
  ['Q3_K', 'q3_k'],
  ['Q4_K', 'q4_k'],
  ['Q5_K', 'q5_k'],
  ['Q6_K', 'q6_k'],
  ['IQ4_NL', 'iq4_nl'],
  ['IQ4_XS', 'iq4_xs'],
]);

/** The types of GGUF by their numbers; gaps are types that were removed. */
const ggufTypes: readonly (string | undefined)[] = [
  ...['F32', 'F16', 'Q4_0', 'Q4_1', 'Q4_2', 'Q4_3', 'Q5_0', 'Q5_1', 'Q8_0', 'Q8_1'],
  ...['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_K', 'IQ2_XXS', 'IQ2_XS', 'IQ3_XXS', 'IQ1_S'],
  ...['IQ4_NL', 'IQ3_S', 'IQ2_S', 'IQ4_XS', 'I8', 'I16', 'I32', 'I64', 'F64', 'IQ1_M'],
  ...['BF16', 'Q4_0_4_4', 'Q4_0_4_8', 'Q4_0_8_8', 'TQ1_0', 'TQ2_0'],
  ...['IQ4_NL_4_4', 'IQ4_NL_4_8', 'IQ4_NL_8_8', 'MXFP4', 'NVFP4', 'Q1_0', 'Q2_0'],
];

/** The types of rwkv.cpp by its own numbers. */
const rwkvCppTypes: readonly string[] = [
  ...['F32', 'F16', 'Q4_0', 'Q4_1', 'Q4_1_O', 'Q4_2', 'Q4_3', 'Q5_0', 'Q5_1', 'Q8_0', 'Q8_1'],
  ...['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_K'],
];

/** A type as a file names it; `read` where it is one that is read. */
interface GgmlType {
  name: string;
  read: StoredType | BlockType | undefined;
}

export function ggufType(code: number): GgmlType {
  return described(ggufTypes[code], code);
}

export function rwkvCppType(code: number): GgmlType {
  return described(rwkvCppTypes[code], code);
}

const readAmong = (types: readonly (string | undefined)[]): string =>
  [...readTypes.keys()].filter((name) => types.includes(name)).join(', ');

/** Names of those that are read of each format. */
export const readGgufTypes = readAmong(ggufTypes);
export const readRwkvCppTypes = readAmong(rwkvCppTypes);

function described(name: string | undefined, code: number): GgmlType {
  return name === undefined
    ? { name: `number ${code}`, read: undefined }
    : { name, read: readTypes.get(name) };
}
