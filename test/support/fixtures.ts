import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ReferenceTensor } from '../reference/common';
import { decodeFloats } from './float16';
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

const types = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

type SafetensorsHeader = Record<
  string,
  { dtype: keyof typeof types; shape: number[]; data_offsets: [number, number] }
>;

/**
 * The tensors of a `.safetensors` file as the oracle wants them: a second, minimal reader, so that a mistake in
 * the package's own cannot hide. Layout: length of the header (u64), header (JSON), elements.
 */
export function readSafetensors(path: string): Map<string, ReferenceTensor> {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as SafetensorsHeader;
  const tensors = new Map<string, ReferenceTensor>();
  for (const [name, { dtype, shape, data_offsets: place }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = place;
    const elements = bytes.subarray(start + begin, start + end);
    tensors.set(name, { shape, data: decodeFloats(types[dtype], elements) });
  }
  return tensors;
}
