import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type State } from '../../lib/index';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';
import { writePth } from '../support/pth-writer';
import { randomTokens } from '../support/random-model';

// Reads exported and tuned states by docs/state-format.md alone.

const folder = temporaryFolder();
const page = readFileSync(join(__dirname, '../../docs/state-format.md'), 'utf8');
const { layers, embedding: D, headSize: N } = smallShape;
const H = D / N;
const size = 2 * D + H * N * N;

/** A part of a layer of `state.values()`. */
function part(state: State, layer: number, name: 'att_x' | 'ffn_x'): number[] {
  const begin = layer * size + (name === 'att_x' ? 0 : D);
  return [...state.values().subarray(begin, begin + D)];
}

/** Calls with every place of the recurrence, and its number. */
function forEachNumber(
  state: State,
  visit: (layer: number, h: number, k: number, v: number, number: number) => void,
): void {
  const values = state.values();
  for (let layer = 0; layer < layers; layer++) {
    for (let h = 0; h < H; h++) {
      for (let k = 0; k < N; k++) {
        for (let v = 0; v < N; v++) {
          visit(layer, h, k, v, values[layer * size + 2 * D + (h * N + k) * N + v]!);
        }
      }
    }
  }
}

test('exported states are what the page says', async () => {
  await withModel(await writeRandomModel(folder, 'model'), {}, async (model) => {
    const session = model.createSession();
    await session.evaluate(randomTokens(30, smallShape.vocabulary, 5));
    const { state } = session;
    const [cpp, web] = [
      model.exportState(state, { layout: 'rwkv.cpp' }),
      model.exportState(state, { layout: 'web-rwkv' }),
    ];
    const tensors = model.exportState(state, { layout: 'ChatRWKV' });
    expect([cpp.length, web.length, tensors.length]).toEqual([layers * size, layers * size, 3 * layers]);
    expect(web).toHaveLength(D * (N + 2) * layers);
    for (let layer = 0; layer < layers; layer++) {
      const at = (array: Float32Array, begin: number): number[] => [
        ...array.subarray(layer * size + begin, layer * size + begin + D),
      ];
      const [att, ffn] = [part(state, layer, 'att_x'), part(state, layer, 'ffn_x')];
      expect([at(cpp, 0), at(cpp, D)]).toEqual([ffn, att]);
      expect([at(web, 0), at(web, (N + 1) * D)]).toEqual([att, ffn]);
      const [first, wkv, last] = tensors.slice(3 * layer, 3 * layer + 3);
      expect([first!.shape, wkv!.shape, last!.shape]).toEqual([[D], [H, N, N], [D]]);
      expect([[...first!.data], [...last!.data]]).toEqual([att, ffn]);
    }
    const misplaced: string[] = [];
    forEachNumber(state, (layer, h, k, v, number) => {
      const found = [
        cpp[layer * size + 2 * D + (h * N + k) * N + v],
        web[layer * size + (1 + k) * D + h * N + v],
        tensors[3 * layer + 1]!.data[(h * N + k) * N + v],
      ];
      if (found.some((other) => other !== number)) misplaced.push(`${layer} ${h} ${k} ${v}`);
    });
    expect(misplaced).toEqual([]);
  });
});

test('a tuned state is where the page says', async () => {
  const tensors = Array.from({ length: layers }, (_, layer) => ({
    ...{ name: `blocks.${layer}.att.time_state`, type: 'f32' as const, shape: [H, N, N] },
    data: Float32Array.from({ length: H * N * N }, (_n, index) => 1 + layer + index / 4096),
  }));
  const path = join(folder, 'tuned.pth');
  await writePth(path, tensors);
  await withModel(await writeRandomModel(folder, 'model'), {}, async (model) => {
    const state = await model.loadTunedState(path);
    const misplaced: string[] = [];
    forEachNumber(state, (layer, h, k, v, number) => {
      if (number !== tensors[layer]!.data[(h * N + v) * N + k]) misplaced.push(`${layer} ${h} ${k} ${v}`);
    });
    expect(misplaced).toEqual([]);
    for (let layer = 0; layer < layers; layer++) {
      expect([...part(state, layer, 'att_x'), ...part(state, layer, 'ffn_x')]).toEqual(
        new Array<number>(2 * D).fill(0),
      );
    }
  });
});

test('the page names all layouts', () => {
  for (const layout of ['rwkv.cpp', 'web-rwkv', 'ChatRWKV', 'BlinkDL']) {
    expect(page).toContain(`\`'${layout}'\``);
  }
});
