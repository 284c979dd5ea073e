/**
 * Matrix products with weights and activations of 8 bits, in float64: what `weights: 'int8'` is meant to compute
 * (docs/quantization.md), and the plain form that it is measured against. Shares no code with the package.
 */
import { matvec, type Product, type ReferenceTensor } from './common';

const { abs, max, min, round, sqrt } = Math;

const clamped = (code: number): number => max(-127, min(127, code));

/** Rounds each group of `size` numbers to steps of its largest magnitude / `most`. */
export function rounded(values: Float64Array, size: number, most = 127): Float64Array {
  const result = new Float64Array(values.length);
  for (let begin = 0; begin < values.length; begin += size) {
    const group = values.subarray(begin, begin + size);
    const scale = largestOf(group) / most;
    if (scale > 0)
      result.set(
        group.map((value) => round(value / scale) * scale),
        begin,
      );
  }
  return result;
}

/** The same for a row of weights, with the best of seven scales. */
function roundedWeights(values: Float64Array, size: number): Float64Array {
  const result = new Float64Array(values.length);
  for (let begin = 0; begin < values.length; begin += size) {
    const group = values.subarray(begin, begin + size);
    let best = Infinity;
    for (let level = 127; level > 120; level--) {
      const scale = largestOf(group) / level;
      if (scale === 0) break;
      const candidate = group.map((value) => clamped(round(value / scale)) * scale);
      const error = candidate.reduce((sum, value, i) => sum + (value - (group[i] ?? NaN)) ** 2, 0);
      if (error < best) {
        best = error;
        result.set(candidate, begin);
      }
    }
  }
  return result;
}

function largestOf(values: Float64Array): number {
  return values.reduce((largest, value) => max(largest, abs(value)), 0);
}

function mapRows(
  { shape, data }: ReferenceTensor,
  change: (row: Float64Array) => Float64Array,
): ReferenceTensor {
  const [rows = 0, columns = 0] = shape;
  const result = new Float64Array(data.length);
  for (let row = 0; row < rows; row++) {
    result.set(change(data.subarray(row * columns, (row + 1) * columns)), row * columns);
  }
  return { shape, data: result };
}

/** Plain W8A8: one scale for a row of weights, one for a token's activations, each the largest magnitude / 127. */
export function plainInt8(): Product {
  const weights = new Map<string, ReferenceTensor>();
  return (name, matrix, vector) => {
    let kept = weights.get(name);
    if (kept === undefined) {
      kept = mapRows(matrix, (row) => rounded(row, row.length));
      weights.set(name, kept);
    }
    return matvec(kept, rounded(vector, vector.length));
  };
}

/** What the package computes: inputs scaled to about one size, groups, and a search for the weights' scales. */
export function groupedInt8(tensors: ReadonlyMap<string, ReferenceTensor>): Product {
  const kept = new Map<string, { matrix: ReferenceTensor; scales: Float64Array; group: number }>();
  return (name, matrix, vector) => {
    let it = kept.get(name);
    if (it === undefined) {
      const scales = inputScales(tensors, name);
      const group = groupOf(vector.length);
      const scaled = (row: Float64Array): Float64Array => row.map((weight, i) => weight / (scales[i] ?? NaN));
      it = { matrix: mapRows(matrix, (row) => roundedWeights(scaled(row), group)), scales, group };
      kept.set(name, it);
    }
    const { scales, group } = it;
    return matvec(
      it.matrix,
      rounded(
        vector.map((value, i) => value * (scales[i] ?? NaN)),
        group,
      ),
    );
  };
}

/** A sixteenth of the columns, as a power of two from 16 to 256. */
function groupOf(columns: number): number {
  let group = 16;
  while (group < 256 && group * 32 <= columns) group *= 2;
  return group;
}

function inputScales(tensors: ReadonlyMap<string, ReferenceTensor>, name: string): Float64Array {
  const get = (tensor: string): Float64Array => tensors.get(tensor)?.data ?? new Float64Array();
  const sizesOf = (norm: string, mix?: string): { variance: Float64Array; mean: Float64Array } => {
    const mixes = mix === undefined ? undefined : get(mix);
    const variance = get(`${norm}.weight`).map((weight, i) => {
      const now = mixes?.[i] ?? 1;
      return weight ** 2 * (now ** 2 + (1 - now) ** 2);
    });
    return { variance, mean: get(`${norm}.bias`) };
  };
  const size = ({ variance, mean }: ReturnType<typeof sizesOf>): Float64Array =>
    variance.map((value, i) => sqrt(value + (mean[i] ?? NaN) ** 2));

  if (name === 'head') return scalesFor(size(sizesOf('ln_out')));
  const [, block = '', part = '', matrix = ''] = /^(blocks\.\d+)\.(att|ffn)\.(\w+)$/.exec(name) ?? [];
  if (part === 'att' && matrix === 'output') return scalesFor(size(sizesOf(`${block}.att.ln_x`)));
  const norm = part === 'att' ? `${block}.ln1` : `${block}.ln2`;
  if (part === 'ffn' && matrix === 'value') {
    const { variance, mean } = sizesOf(norm, `${block}.ffn.time_mix_k`);
    const key = tensors.get(`${block}.ffn.key.weight`) ?? { shape: [], data: new Float64Array() };
    const squared = { shape: key.shape, data: key.data.map((weight) => weight ** 2) };
    const means = matvec(key, mean);
    return scalesFor(matvec(squared, variance).map((value, i) => value + (means[i] ?? NaN) ** 2));
  }
  const letter = { receptance: 'r', key: 'k', value: 'v', gate: 'g' }[matrix] ?? '';
  return scalesFor(size(sizesOf(norm, `${block}.${part}.time_mix_${letter}`)));
}

function scalesFor(sizes: Float64Array): Float64Array {
  const mean = sqrt(sizes.reduce((sum, size) => sum + size ** 2, 0) / sizes.length);
  return sizes.map((size) => 1 / max(size / mean, 1e-3) ** 0.75);
}
