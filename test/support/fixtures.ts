import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ReferenceTensor } from '../reference/common';
import { describeUnless } from './unless';

/**
 * The real trained models that this project is checked with. They are no part of the repository: they lie beside
 * a checkout where there are any, with a README that describes them.
 */
const fixtures = resolve(__dirname, '../../../shared/fixtures');

/** The path of a file or folder of the fixtures. */
export function fixturePath(...parts: string[]): string {
  return join(fixtures, ...parts);
}

/** `describe` where the fixtures are. */
export const describeWithFixtures = describeUnless(
  !existsSync(fixtures) && `${fixtures} (trained models with their expected logits) is absent`,
);

/** What another implementation, in float64, made of one prompt. */
interface Expected {
  tokens: number[];
  /** [tokens][vocabulary] */
  logits: Float32Array;
  vocabulary: number;
  /** After the last token; per layer att_x, ffn_x, wkv. */
  state: Float32Array;
  /** The 64 tokens that follow when always the most probable one is taken. */
  greedy: number[];
  /** How far a plain float32 evaluation ended up from these values. */
  logitsDeviation: number;
  stateDeviation: number;
}

interface ExpectedFile {
  tokens: number[];
  logits_file: string;
  logits_shape: [number, number];
  state_file: string;
  greedy: number[];
  float32_max_abs_deviation: number;
  float32_state_max_abs_deviation: number;
}

/** Reads `expected/<type>/<prompt>.json` of a version folder and the files that it names. */
export function readExpected(version: string, type: string, prompt: string): Expected {
  const folder = fixturePath(version, 'expected', type);
  const file = JSON.parse(readFileSync(join(folder, `${prompt}.json`), 'utf8')) as ExpectedFile;
  return {
    tokens: file.tokens,
    logits: readFloats(join(folder, file.logits_file)),
    vocabulary: file.logits_shape[1],
    state: readFloats(join(folder, file.state_file)),
    greedy: file.greedy,
    logitsDeviation: file.float32_max_abs_deviation,
    stateDeviation: file.float32_state_max_abs_deviation,
  };
}

function readFloats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
}

type SafetensorsHeader = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/**
 * The tensors of a `.safetensors` file as the oracle wants them: a second, minimal reader, so that a mistake in
 * the package's own cannot hide. Layout: length of the header (u64), header (JSON), elements.
 */
export function readSafetensors(path: string): Map<string, ReferenceTensor> {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as SafetensorsHeader;
  const tensors = new Map<string, ReferenceTensor>();
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [begin, end],
    },
  ] of Object.entries(header)) {
    if (name !== '__metadata__') {
      tensors.set(name, { shape, data: decode(dtype, bytes.subarray(start + begin, start + end)) });
    }
  }
  return tensors;
}

function decode(dtype: string, bytes: Buffer): Float64Array {
  switch (dtype) {
    case 'F32':
      return Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
    case 'F16':
      return Float64Array.from({ length: bytes.length / 2 }, (_, i) =>
        fromFloat16(bytes.readUInt16LE(i * 2)),
      );
    case 'BF16':
      return Float64Array.from({ length: bytes.length / 2 }, (_, i) =>
        fromBfloat16(bytes.readUInt16LE(i * 2)),
      );
    default:
      throw new Error(`a fixture with elements of type ${dtype}`);
  }
}

/** IEEE 754 binary16: 1 bit sign, 5 bits exponent (bias 15), 10 bits fraction. */
function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = (bits & 0x3ff) / 1024;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

/** The upper half of a binary32: 1 bit sign, 8 bits exponent (bias 127), 7 bits fraction. */
function fromBfloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 7) & 0xff;
  const fraction = (bits & 0x7f) / 128;
  return exponent === 0 ? sign * fraction * 2 ** -126 : sign * (1 + fraction) * 2 ** (exponent - 127);
}
