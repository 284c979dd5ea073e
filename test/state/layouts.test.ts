import {
  chatRwkvShapes,
  forEachRun,
  fromLayout,
  layerNumbers,
  stateLayouts,
  toLayout,
  type StateDimensions,
} from '../../lib/state-layouts';

const dimensions = (
  architecture: StateDimensions['architecture'],
  numbers: Partial<StateDimensions> = {},
): StateDimensions => ({
  ...{ architecture, layers: 2, embedding: 4, heads: 2, headSize: 2, ...numbers },
});

const texts = (values: Float32Array): string => [...values].join(' ');

// Numbers tell what they are: 100 * layer, then att_x 1-4, ffn_x 11-14, and of the recurrence
// 20 + head * 4 + key * 2 + value for matrices, or aa 21-24, bb 31-34, pp 41-44.
const layers = (numbers: readonly number[]): Float32Array =>
  Float32Array.from([0, 100].flatMap((layer) => numbers.map((number) => layer + number)));
const att = [1, 2, 3, 4];
const ffn = [11, 12, 13, 14];
const keyFirst = [20, 21, 22, 23, 24, 25, 26, 27];
const valueFirst = [20, 22, 21, 23, 24, 26, 25, 27];
const sums = [21, 22, 23, 24, 31, 32, 33, 34, 41, 42, 43, 44];
// A row for each key: the values of head 0, then of head 1.
const rows = [20, 21, 24, 25, 22, 23, 26, 27];

describe('the layout of', () => {
  test.each([
    ['rwkv4', 'rwkv.cpp', [...att, ...ffn, ...sums], [...ffn, ...att, ...sums]],
    ['rwkv4', 'ChatRWKV', [...att, ...ffn, ...sums], [...att, ...sums, ...ffn]],
    ['rwkv4', 'web-rwkv', [...att, ...ffn, ...sums], [...att, ...sums, ...ffn]],
    ['rwkv5', 'rwkv.cpp', [...att, ...ffn, ...keyFirst], [...ffn, ...att, ...keyFirst]],
    ['rwkv5', 'ChatRWKV', [...att, ...ffn, ...keyFirst], [...att, ...keyFirst, ...ffn]],
    ['rwkv5', 'web-rwkv', [...att, ...ffn, ...keyFirst], [...att, ...rows, ...ffn]],
    ['rwkv6', 'rwkv.cpp', [...att, ...ffn, ...keyFirst], [...ffn, ...att, ...keyFirst]],
    ['rwkv6', 'ChatRWKV', [...att, ...ffn, ...keyFirst], [...att, ...keyFirst, ...ffn]],
    ['rwkv6', 'web-rwkv', [...att, ...ffn, ...keyFirst], [...att, ...rows, ...ffn]],
    ['rwkv7', 'rwkv.cpp', [...att, ...ffn, ...valueFirst], [...ffn, ...att, ...valueFirst]],
    ['rwkv7', 'ChatRWKV', [...att, ...ffn, ...valueFirst], [...att, ...valueFirst, ...ffn]],
    ['rwkv7', 'web-rwkv', [...att, ...ffn, ...valueFirst], [...att, ...rows, ...ffn]],
  ] as const)('%s in %s has everything in its place', (architecture, layout, here, there) => {
    const state = dimensions(architecture);
    expect(here).toHaveLength(layerNumbers(state));
    expect(texts(toLayout(layers(here), state, layout))).toBe(texts(layers(there)));
    expect(texts(fromLayout(layers(there), state, layout))).toBe(texts(layers(here)));
  });

  test.each(['rwkv4', 'rwkv5', 'rwkv6', 'rwkv7'] as const)(
    '%s leaves no number out, and none twice',
    (architecture) => {
      const state = dimensions(architecture, { layers: 3, embedding: 15, heads: 5, headSize: 3 });
      const values = Float32Array.from({ length: 3 * layerNumbers(state) }, (_, index) => index);
      for (const layout of stateLayouts) {
        const [here, there] = [new Set<number>(), new Set<number>()];
        forEachRun(state, layout, (run) => {
          for (let i = 0; i < run.count; i++) {
            here.add(run.here + i * run.step);
            there.add(run.there + i);
          }
        });
        expect([here.size, there.size]).toEqual([values.length, values.length]);
        expect(texts(fromLayout(toLayout(values, state, layout), state, layout))).toBe(texts(values));
      }
    },
  );

  test('ChatRWKV is cut into its tensors', () => {
    expect(chatRwkvShapes(dimensions('rwkv4'))).toEqual(Array.from({ length: 10 }, () => [4]));
    for (const architecture of ['rwkv5', 'rwkv6', 'rwkv7'] as const) {
      expect(chatRwkvShapes(dimensions(architecture))).toEqual([[4], [2, 2, 2], [4], [4], [2, 2, 2], [4]]);
    }
  });
});
