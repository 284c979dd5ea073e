import type { ModelInfo } from './model';

/** Programs whose states can be taken over, by how they lay them out; ai00 does as web-rwkv, which it is made of. */
export const stateLayouts = ['ChatRWKV', 'rwkv.cpp', 'web-rwkv'] as const;

export type StateLayout = (typeof stateLayouts)[number];

/** What the shape of a model's states follows from. */
export type StateDimensions = Pick<ModelInfo, 'architecture' | 'layers' | 'embedding' | 'heads' | 'headSize'>;

/** How many numbers a layer's state has: att_x, ffn_x, then the recurrence. */
export function layerNumbers({ architecture, embedding, heads, headSize }: StateDimensions): number {
  return architecture === 'rwkv4' ? 5 * embedding : 2 * embedding + heads * headSize * headSize;
}

/** Numbers that lie side by side there, and `step` apart here; the places of the first, from the state's begin. */
interface Run {
  here: number;
  there: number;
  count: number;
  step: number;
}

/** Shows where everything is, in the order of `State.values()` and in a layout as one array (docs/state-format.md). */
export function forEachRun(
  dimensions: StateDimensions,
  layout: StateLayout,
  visit: (run: Run) => void,
): void {
  const { layers, embedding } = dimensions;
  const size = layerNumbers(dimensions);
  for (let layer = 0; layer < layers; layer++) {
    const begin = layer * size;
    const put = (here: number, there: number, count: number, step = 1): void => {
      visit({ here: begin + here, there: begin + there, count, step });
    };
    const recurrence = size - 2 * embedding;
    if (layout === 'rwkv.cpp') {
      put(embedding, 0, embedding);
      put(0, embedding, embedding);
      put(2 * embedding, 2 * embedding, recurrence);
      continue;
    }
    put(0, 0, embedding);
    put(embedding, size - embedding, embedding);
    if (layout === 'ChatRWKV' || dimensions.architecture === 'rwkv4') {
      put(2 * embedding, embedding, recurrence);
    } else {
      forEachKey(dimensions, put);
    }
  }
}

/** Of web-rwkv: a row per key channel, in it the value channels of all heads. */
function forEachKey(
  { architecture, embedding, heads, headSize }: StateDimensions,
  put: (here: number, there: number, count: number, step: number) => void,
): void {
  const valueFirst = architecture === 'rwkv7';
  for (let key = 0; key < headSize; key++) {
    for (let head = 0; head < heads; head++) {
      const first = 2 * embedding + head * headSize * headSize + (valueFirst ? key : key * headSize);
      put(first, (1 + key) * embedding + head * headSize, headSize, valueFirst ? headSize : 1);
    }
  }
}

/** The numbers of `State.values()` in a layout, as one array. */
export function toLayout(
  values: Float32Array,
  dimensions: StateDimensions,
  layout: StateLayout,
): Float32Array {
  const result = new Float32Array(values.length);
  forEachRun(dimensions, layout, ({ here, there, count, step }) => {
    for (let i = 0; i < count; i++) result[there + i] = values[here + i * step] ?? NaN;
  });
  return result;
}

/** The other way round. */
export function fromLayout(
  values: Float32Array,
  dimensions: StateDimensions,
  layout: StateLayout,
): Float32Array {
  const result = new Float32Array(values.length);
  forEachRun(dimensions, layout, ({ here, there, count, step }) => {
    for (let i = 0; i < count; i++) result[here + i * step] = values[there + i] ?? NaN;
  });
  return result;
}

/** The shapes of ChatRWKV's tensors, which lie one after the other in its layout. */
export function chatRwkvShapes(dimensions: StateDimensions): number[][] {
  const { architecture, layers, embedding, heads, headSize } = dimensions;
  const vector = [embedding];
  const layer =
    architecture === 'rwkv4'
      ? [vector, vector, vector, vector, vector]
      : [vector, [heads, headSize, headSize], vector];
  return Array.from({ length: layers }, () => layer.map((shape) => [...shape])).flat();
}
