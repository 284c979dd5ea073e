/** What the tests of quantized weights measure: next-token distributions, and how far apart they are. */
import { readFileSync } from 'node:fs';
import { isBlockType } from '../../lib/formats/tensor-directory';
import type { Model } from '../../lib/index';
import { logSoftmax, type Product } from '../reference/common';
import { referenceModel } from '../reference/model';
import { fixturePath } from '../support/fixtures';
import { randomTokens, type RandomTensor, type referenceTensors } from '../support/random-model';
import { readTensors } from '../support/read-tensors';
import { allLogits, row } from '../support/model';

const { exp } = Math;

/** Kullback-Leibler divergence of two next-token distributions, in nats, from their logarithms. */
function divergence(expected: Float64Array, found: Float64Array): number {
  return expected.reduce((sum, log, i) => sum + exp(log) * (log - (found[i] ?? NaN)), 0);
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Logarithms of the next-token distributions after each of some tokens, of each text. */
export type Distributions = Float64Array[][];

export async function distributions(model: Model, texts: readonly Uint8Array[]): Promise<Distributions> {
  return await Promise.all(
    texts.map(async (text) => {
      const logits = await allLogits(model.createSession(), [...text]);
      return Array.from(text, (_, i) => logSoftmax(Float64Array.from(row(logits, i, model.info.vocabulary))));
    }),
  );
}

/** Nats per token, of all tokens but each text's first. */
export function lossOf(found: Distributions, texts: readonly Uint8Array[]): number {
  return mean(
    texts.flatMap((text, t) => Array.from(text.subarray(1), (token, i) => -(found[t]?.[i]?.[token] ?? NaN))),
  );
}

export function meanDivergence(expected: Distributions, found: Distributions): number {
  return mean(expected.flatMap((text, t) => text.map((log, i) => divergence(log, found[t]![i]!))));
}

/** The next-token distributions of the reference with some form of product. */
export function withProduct(
  tensors: ReturnType<typeof referenceTensors>,
  product: Product,
  texts: readonly Uint8Array[],
): Distributions {
  const model = referenceModel(tensors, { product });
  return texts.map((text) => {
    const state = model.initialState();
    return Array.from(text, (token) => logSoftmax(model.forward(token, state)));
  });
}

export async function tensorsOf(path: string): Promise<RandomTensor[]> {
  return [...(await readTensors(path)).values()].map(({ name, type, shape, values }) => ({
    name,
    type: isBlockType(type) ? 'f32' : type,
    shape: [...shape],
    data: Float32Array.from(values),
  }));
}

/**
 * The same function with outliers as large models have them: 1 % of the layer norms' channels times 32 and the next
 * matrices' columns divided by it, 1 % of the rows of channel mixing's keys times 8, its values' columns by 64.
 * Of versions 4 and 5, whose norms feed nothing but matrices.
 */
export function outlierTwin(tensors: readonly RandomTensor[]): RandomTensor[] {
  const twin = new Map(tensors.map((tensor) => [tensor.name, { ...tensor, data: tensor.data.slice() }]));
  const get = (name: string): RandomTensor => twin.get(name)!;
  const scaleColumns = (name: string, channel: number, factor: number): void => {
    const { shape, data } = get(name);
    for (let i = channel; i < data.length; i += shape[1]!) data[i]! *= factor;
  };
  const channels = (count: number, seed: number): Set<number> =>
    new Set(randomTokens(Math.max(1, Math.round(count / 100)), count, seed));
  const outliers = (norm: string, matrices: readonly string[], seed: number): void => {
    const size = get(`${norm}.weight`).data.length;
    for (const channel of channels(size, seed)) {
      get(`${norm}.weight`).data[channel]! *= 32;
      get(`${norm}.bias`).data[channel]! *= 32;
      for (const matrix of matrices) scaleColumns(`${matrix}.weight`, channel, 1 / 32);
    }
  };
  for (let layer = 0; twin.has(`blocks.${layer}.ln1.weight`); layer++) {
    const block = `blocks.${layer}`;
    const att = ['receptance', 'key', 'value', 'gate']
      .map((name) => `${block}.att.${name}`)
      .filter((name) => twin.has(`${name}.weight`));
    outliers(`${block}.ln1`, att, 4 * layer);
    outliers(`${block}.ln2`, [`${block}.ffn.key`, `${block}.ffn.receptance`], 4 * layer + 1);
    const key = get(`${block}.ffn.key.weight`);
    const [rows = 0, columns = 0] = key.shape;
    for (const hidden of channels(rows, 4 * layer + 2)) {
      for (let i = 0; i < columns; i++) key.data[hidden * columns + i]! *= 8;
      scaleColumns(`${block}.ffn.value.weight`, hidden, 1 / 64);
    }
  }
  outliers('ln_out', ['head'], 3);
  return [...twin.values()];
}

/** Texts that the embedded model was not trained on. */
export function heldOutTexts(): Uint8Array[] {
  const text = readFileSync(`${__dirname}/held-out.txt`);
  const documents = text.toString('latin1').split('\0');
  return documents.map((document) => Buffer.from(document, 'latin1').subarray(0, 250));
}

/** Texts for the trained fixtures, from beside them. */
export function fixtureTexts(): Uint8Array[] {
  return readFileSync(fixturePath('..', 'data', 'lambada_test.jsonl'), 'utf8')
    .split('\n')
    .slice(0, 12)
    .map((line) => Buffer.from((JSON.parse(line) as { text: string }).text).subarray(0, 300));
}
