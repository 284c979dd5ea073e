import { loadModel, type State, type StateTensor } from '../../lib/index';
import { exportValues, importValues } from '../../lib/state-exchange';
import { sameBits } from '../support/compare';
import { callUnchecked, expectFailure, invalidArgument, rejection, thrown } from '../support/failure';
import { describeWithFixtures, fixturePath, readExpected } from '../support/fixtures';
import { randomTokens } from '../support/random-model';
import { smallShape, temporaryFolder, useRandomModel, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const { layers, embedding, headSize, vocabulary } = smallShape;
const heads = embedding / headSize;
const numbers = layers * (2 * embedding + heads * headSize * headSize);
const layouts = ['rwkv.cpp', 'web-rwkv', 'ChatRWKV'] as const;

let state: State;
const { model } = useRandomModel();
beforeAll(async () => {
  const session = model().createSession();
  await session.evaluate(randomTokens(40, vocabulary, 1));
  ({ state } = session);
});

const failing = (method: 'exportState' | 'importState', ...parameters: unknown[]): unknown =>
  thrown(() => callUnchecked(model(), method, parameters));

describe('A state that went through another layout', () => {
  test.each(layouts)('%s is the same, and continues with the same bits', async (layout) => {
    const exported = model().exportState(state, { layout });
    const again: State = model().importState(exported, { layout });
    expect(sameBits(again.values(), state.values())).toBe(true);
    const tokens = randomTokens(20, vocabulary, 2);
    const expected = await model().createSession({ state }).evaluate(tokens, { logits: 'all' });
    const found = await model().createSession({ state: again }).evaluate(tokens, { logits: 'all' });
    expect(sameBits(found, expected)).toBe(true);
  });

  test('knows no tokens and no logits: it has to see one before it is sampled from', async () => {
    const again = model().importState(model().exportState(state, { layout: 'rwkv.cpp' }), {
      layout: 'rwkv.cpp',
    });
    expect([again.tokens, again.fingerprint]).toEqual([0, model().info.fingerprint]);
    const session = model().createSession({ state: again });
    const failure = { code: 'ERR_WKV_STATE', message: /evaluate at least one token first/ };
    expectFailure(await rejection(() => session.complete('')), failure);
    expectFailure(await rejection(() => session.evaluate([])), failure);
    await session.evaluate([5]);
    expect((await session.complete([], { maxTokens: 3, stopTokens: [] })).tokens).toHaveLength(3);
    expect(session.state.tokens).toBe(4);
  });

  test('fits a model that keeps its states as f16', async () => {
    await withModel(await writeRandomModel(folder, 'packed'), { statePrecision: 'f16' }, async (packed) => {
      const exported = packed.exportState(state, { layout: 'web-rwkv' });
      const session = packed.createSession({ state: packed.importState(exported, { layout: 'web-rwkv' }) });
      await session.evaluate([7]);
      expect(packed.exportState(session.state, { layout: 'rwkv.cpp' })).toHaveLength(numbers);
    });
  });

  test('shares no memory with what was imported, or exported before', () => {
    const exported = model().exportState(state, { layout: 'rwkv.cpp' });
    const again = model().importState(exported, { layout: 'rwkv.cpp' });
    exported.fill(7);
    const tensors = model().exportState(state, { layout: 'ChatRWKV' });
    for (const { data } of tensors) data.fill(8);
    expect(sameBits(again.values(), state.values())).toBe(true);
  });

  test('draws other random numbers each time', async () => {
    const exported = model().exportState(state, { layout: 'rwkv.cpp' });
    const seeds = await Promise.all(
      [0, 1].map(async () => {
        const session = model().createSession({
          state: model().importState(exported, { layout: 'rwkv.cpp' }),
        });
        return (await session.complete([1], { maxTokens: 1, stopTokens: [] })).seed;
      }),
    );
    expect(seeds[0]).not.toBe(seeds[1]);
  });
});

describe('model.exportState refuses', () => {
  test('a state of other weights', async () => {
    await withModel(await writeRandomModel(folder, 'other', { ...smallShape, seed: 8 }), {}, (other) => {
      expectFailure(
        thrown(() => other.exportState(state, { layout: 'rwkv.cpp' })),
        {
          code: 'ERR_WKV_STATE',
          message: /other weights/,
          expected: /: fingerprint/,
          found: /: fingerprint/,
        },
      );
    });
  });

  test('wrong arguments', () => {
    expectFailure(
      failing('exportState', 5, { layout: 'rwkv.cpp' }),
      invalidArgument(/state: expected a State/),
    );
    expectFailure(
      failing('exportState', state),
      invalidArgument(/options\.layout: expected one of 'ChatRWKV'/),
    );
    for (const layout of ['rwkv', '', 3]) {
      expectFailure(failing('exportState', state, { layout }), invalidArgument(/options\.layout/));
    }
    const typo = { layout: 'rwkv.cpp', precision: 'f16' };
    expectFailure(
      failing('exportState', state, typo),
      invalidArgument(/options\.precision: there is no such/),
    );
  });
});

describe('model.importState refuses', () => {
  test('a state of another size', () => {
    for (const layout of ['rwkv.cpp', 'web-rwkv'] as const) {
      for (const length of [0, numbers - 1, numbers + 1]) {
        expectFailure(failing('importState', new Float32Array(length), { layout }), {
          code: 'ERR_WKV_STATE',
          ...{
            message: new RegExp(layout),
            expected: new RegExp(`: ${numbers} `),
            found: new RegExp(`: ${length} `),
          },
        });
      }
    }
  });

  test('a state of another size, whatever its property length says', () => {
    const claiming = (length: number): Float32Array =>
      Object.defineProperty(new Float32Array(length), 'length', { value: numbers });
    expectFailure(failing('importState', claiming(numbers - 1), { layout: 'rwkv.cpp' }), {
      ...{ code: 'ERR_WKV_STATE', found: new RegExp(`: ${numbers - 1} `) },
    });
    const exported = model().exportState(state, { layout: 'rwkv.cpp' });
    const short = Object.defineProperty(exported, 'length', { value: 3 });
    expect(sameBits(model().importState(short, { layout: 'rwkv.cpp' }).values(), state.values())).toBe(true);
  });

  test.each([NaN, Infinity, -Infinity])('a state that holds %p', (number) => {
    const exported = model().exportState(state, { layout: 'rwkv.cpp' });
    exported[embedding + 3] = number;
    expectFailure(failing('importState', exported, { layout: 'rwkv.cpp' }), {
      ...{ code: 'ERR_WKV_STATE', message: /not finite/, found: /at 3 of state\.values\(\)/ },
    });
  });

  test('tensors of other shapes, too few and too many', () => {
    const layout = 'ChatRWKV';
    const tensors = (): StateTensor[] => model().exportState(state, { layout });
    const [first, second] = tensors() as [StateTensor, StateTensor];
    for (const [index, tensor, found] of [
      [0, { ...first, shape: [1, embedding] }, /: \[1, 64\]$/],
      [1, { ...second, shape: [embedding, headSize, 1] }, /: \[64, 16, 1\]$/],
      [2, second, /: \[4, 16, 16\]$/],
      [0, { ...first, data: first.data.subarray(1) }, /: 63 numbers$/],
      [0, { ...first, shape: [NaN] }, /: \[NaN\]$/],
    ] as const) {
      const changed = tensors();
      changed[index] = tensor;
      const failure = { code: 'ERR_WKV_STATE', message: new RegExp(`values\\[${index}\\]`), found };
      expectFailure(failing('importState', changed, { layout }), failure);
    }
    for (const changed of [[], tensors().slice(1), [...tensors(), first]]) {
      expectFailure(failing('importState', changed, { layout }), {
        ...{ code: 'ERR_WKV_STATE', expected: /: 6 tensors$/, found: /tensors$/ },
      });
    }
  });

  test('wrong arguments', () => {
    const values = model().exportState(state, { layout: 'rwkv.cpp' });
    const wrong = (given: unknown, layout: string, message: RegExp): void => {
      expectFailure(failing('importState', given, { layout }), invalidArgument(message));
    };
    for (const given of [
      undefined,
      null,
      'text',
      [1, 2],
      new Float64Array(numbers),
      new DataView(values.buffer),
    ]) {
      wrong(given, 'rwkv.cpp', /values: expected a Float32Array/);
    }
    wrong(values, 'ChatRWKV', /values: expected an array of tensors/);
    const tensors: unknown[] = model().exportState(state, { layout: 'ChatRWKV' });
    for (const [tensor, message] of [
      [null, /values\[0\]: expected a tensor/],
      [{ shape: [embedding] }, /values\[0\]\.data: expected a Float32Array/],
      [{ data: values }, /values\[0\]\.shape: expected an array/],
    ] as const) {
      wrong([tensor, ...tensors.slice(1)], 'ChatRWKV', message);
    }
    expectFailure(failing('importState', values), invalidArgument(/options\.layout/));
  });

  test('everything once the model is disposed', async () => {
    const other = await loadModel(await writeRandomModel(folder, 'disposed'));
    const values = other.exportState(other.createSession().state, { layout: 'rwkv.cpp' });
    await other.dispose();
    expectFailure(
      thrown(() => other.importState(values, { layout: 'rwkv.cpp' })),
      { code: 'ERR_WKV_DISPOSED' },
    );
  });
});

test("web-rwkv has no layout for heads that are not as wide as the model, the others' do", async () => {
  const shape = { ...smallShape, heads: 3 };
  await withModel(await writeRandomModel(folder, 'narrow', shape), {}, async (narrow) => {
    const session = narrow.createSession();
    await session.evaluate([1, 2]);
    expectFailure(
      thrown(() => narrow.exportState(session.state, { layout: 'web-rwkv' })),
      { code: 'ERR_WKV_STATE', expected: /: 64 channels/, found: /: 3 heads of 16$/ },
    );
    const exported = narrow.exportState(session.state, { layout: 'rwkv.cpp' });
    const again = narrow.importState(exported, { layout: 'rwkv.cpp' });
    expect(sameBits(again.values(), session.state.values())).toBe(true);
  });
});

test.each(layouts)('RWKV-4 with another width in its heads has no layout of %s', (layout) => {
  const dimensions = { architecture: 'rwkv4', layers: 2, embedding: 6, heads: 9, headSize: 1 } as const;
  const values = new Float32Array(2 * (2 * 6 + 3 * 9));
  const failure = { code: 'ERR_WKV_STATE', message: new RegExp(layout), found: /: 9 heads of 1$/ };
  expectFailure(
    thrown(() => exportValues(values, dimensions, { layout })),
    failure,
  );
  expectFailure(
    thrown(() => importValues(values, dimensions, { layout })),
    failure,
  );
});

describeWithFixtures('A state of a trained model', () => {
  test.each(layouts)('as %s has it goes on with the same text', async (layout) => {
    const { tokens, greedy } = readExpected('v5.2', 'fp32', 'A');
    await withModel(fixturePath('v5.2', 'tiny.fp32.pth'), {}, async (trained) => {
      const session = trained.createSession();
      await session.evaluate(tokens.slice(0, -1));
      const exported = trained.exportState(session.state, { layout });
      const resumed = trained.createSession({ state: trained.importState(exported, { layout }) });
      const penalties = { presencePenalty: 0, frequencyPenalty: 0 };
      const options = { temperature: 0, maxTokens: greedy.length, stopTokens: [], ...penalties };
      const { tokens: found } = await resumed.complete(tokens.slice(-1), options);
      expect([...found]).toEqual(greedy);
    });
  });
});
