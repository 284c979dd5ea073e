import { execFile } from 'node:child_process';
import { join } from 'node:path';
import {
  loadModel,
  Tokenizer,
  type LoadOptions,
  type Model,
  type Session,
  type TokenizerLike,
} from '../../lib/index';
import { flattenState, type ReferenceOptions } from '../reference/common';
import { referenceModel } from '../reference/model';
import { writePth } from './pth-writer';
import { randomModel, referenceTensors, type RandomModelShape, type RandomTensor } from './random-model';
import { writeSafetensors } from './safetensors-writer';
import { temporaryFolder } from './temporary-folder';

export { temporaryFolder };

/** A small model for tests of behaviour: enough layers and heads to mix everything up, and quick. */
export const smallShape: RandomModelShape = {
  layers: 2,
  embedding: 64,
  headSize: 16,
  feedForward: 224,
  vocabulary: 256,
  type: 'f32',
  seed: 7,
};

type Container = 'pth' | 'safetensors';

/** Writes tensors to `<folder>/<name>.<container>` and returns that path. */
export async function writeTensors(
  folder: string,
  name: string,
  container: Container,
  tensors: RandomTensor[],
): Promise<string> {
  const path = join(folder, `${name}.${container}`);
  await (container === 'pth' ? writePth : writeSafetensors)(path, tensors);
  return path;
}

/** A tensor of this shape, all zeros. */
export function zeros(name: string, shape: number[]): RandomTensor {
  return { name, type: 'f32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
}

/** Writes a random model as `<folder>/<name>.pth`. */
export function writeRandomModel(
  folder: string,
  name: string,
  shape: RandomModelShape = smallShape,
): Promise<string> {
  return writeTensors(folder, name, 'pth', randomModel(shape));
}

/** A small random model, loaded for the tests of a file, and its file. */
export function useRandomModel(tokenizer: TokenizerLike = Tokenizer.bytes()): {
  model: () => Model;
  path: string;
} {
  const folder = temporaryFolder();
  let model: Model | undefined;
  beforeAll(async () => {
    model = await loadModel(await writeRandomModel(folder, 'small'), { tokenizer });
  });
  afterAll(() => model?.dispose());
  return {
    model: () => {
      if (model === undefined) throw new Error('the model is loaded before the first test');
      return model;
    },
    path: join(folder, 'small.pth'),
  };
}

/** Loads a model, hands it on, and disposes it whatever happens. */
export async function withModel<T>(
  path: string,
  options: LoadOptions,
  use: (model: Model) => T | Promise<T>,
): Promise<T> {
  const model = await loadModel(path, options);
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

/** The logits after each token, one after the other. */
export async function allLogits(
  session: Session,
  tokens: Uint32Array | readonly number[],
): Promise<Float32Array> {
  return await session.evaluate(tokens, { logits: 'all' });
}

/** What the oracle makes of these tokens: the logits after each of them, and the state at the end. */
export function oracle(
  tensors: readonly RandomTensor[],
  tokens: Iterable<number>,
  options: ReferenceOptions = {},
): { logits: Float64Array[]; state: Float64Array } {
  const model = referenceModel(referenceTensors(tensors), options);
  const state = model.initialState();
  const logits = Array.from(tokens, (token) => model.forward(token, state));
  return { logits, state: flattenState(state) };
}

/** Position i of logits [tokens][vocabulary]. */
export function row(logits: Float32Array, i: number, vocabulary: number): Float32Array {
  return logits.subarray(i * vocabulary, (i + 1) * vocabulary);
}

export function indexOfLargest(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > (values[best] ?? NaN) ? i : best), 0);
}

/** How a process ended, and what it wrote. */
export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a TypeScript file, by its whole path, in a process of its own, which is killed after a time in milliseconds. */
export function runChild(
  file: string,
  parameters: readonly string[],
  { environment = {}, timeout = 60_000 }: { environment?: Record<string, string>; timeout?: number } = {},
): Promise<Ended> {
  const runner = join(__dirname, 'run-typescript.js');
  // With a small nursery the resident memory says more about what is kept than about when it was collected.
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--expose-gc', '--max-semi-space-size=1', runner, file, ...parameters],
      { env: { ...process.env, ...environment }, timeout, killSignal: 'SIGKILL' },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode, stdout, stderr });
      },
    );
  });
}
