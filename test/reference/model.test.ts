import { largestDifference } from '../support/compare';
import { describeWithFixtures, fixturePath, readExpected, readSafetensors } from '../support/fixtures';
import { randomModel, randomTokens, referenceTensors, versions } from '../support/random-model';
import { flattenState, logSoftmax, type ReferenceState } from './common';
import { referenceModel } from './model';

/**
 * The expected values are float64 results stored as float32: half a unit in the last place of the largest
 * magnitudes (logits below 16, state entries below 64) is 2^-21 and 2^-19.
 */
const logitsTolerance = 2 ** -21;
const stateTolerance = 2 ** -19;

describeWithFixtures('The reference model on trained models', () => {
  describe.each([
    ['4', 'v4', 'bf16', 'tiny.bf16.safetensors'],
    ['5.0', 'v5.0', 'fp16', 'tiny.fp16.safetensors'],
    ['5.2', 'v5.2', 'fp16', 'tiny.fp16.safetensors'],
    ['5.2', 'v5.2', 'bf16', 'tiny.bf16.safetensors'],
  ] as const)('of version %s (%s, %s)', (version, folder, type, file) => {
    const model = referenceModel(readSafetensors(fixturePath(folder, file)));

    test.each(['A', 'B'])(
      'gives the expected logits at every position, state and greedy tokens of %s',
      (prompt) => {
        const {
          tokens,
          logits,
          vocabulary,
          state: expectedState,
          greedy,
        } = readExpected(folder, type, prompt);
        expect(model.version).toBe(version);
        const state = model.initialState();
        let last: Float64Array = new Float64Array();
        tokens.forEach((token, position) => {
          last = model.forward(token, state);
          const expected = logits.subarray(position * vocabulary, (position + 1) * vocabulary);
          expect(largestDifference(last, expected)).toBeLessThanOrEqual(logitsTolerance);
        });
        expect(largestDifference(flattenState(state), expectedState)).toBeLessThanOrEqual(stateTolerance);

        for (const expected of greedy) {
          const token = last.indexOf(Math.max(...last));
          expect(token).toBe(expected);
          last = model.forward(token, state);
        }
      },
    );
  });

  test('notices another group norm epsilon', () => {
    const tensors = readSafetensors(fixturePath('v5.2', 'tiny.bf16.safetensors'));
    const model = referenceModel(tensors, { groupNormEpsilon: 1e-5 });
    const { tokens, logits, vocabulary } = readExpected('v5.2', 'bf16', 'A');
    const state = model.initialState();
    const last = tokens.map((token) => model.forward(token, state)).at(-1) ?? [];
    expect(largestDifference(last, logits.subarray(-vocabulary))).toBeGreaterThan(0.01);
  });
});

const shape = { layers: 2, embedding: 24, headSize: 6, feedForward: 40, vocabulary: 50, seed: 2 } as const;

describe.each(versions)('The reference model of version %s', (version) => {
  const tensors = randomModel({ ...shape, version, type: 'f32' });

  test('is told by the names and shapes of tensors', () => {
    expect(referenceModel(referenceTensors(tensors))).toMatchObject({
      version,
      layers: 2,
      embedding: 24,
      vocabulary: 50,
    });
  });

  test('is moved by every single tensor', () => {
    const tokens = randomTokens(6, shape.vocabulary, 1);
    const lastOf = (changed: string): Float64Array => {
      const map = referenceTensors(tensors);
      const data = map.get(changed)?.data;
      data?.forEach((value, i) => {
        data[i] = value * (i % 2 === 0 ? 1.2 : 0.8) + 0.1; // layer norms undo what is done to all alike
      });
      const model = referenceModel(map);
      const state = model.initialState();
      return Array.from(tokens, (token) => model.forward(token, state)).at(-1) ?? new Float64Array();
    };
    const exact = lastOf('');
    const idle = tensors
      .map(({ name }) => name)
      .filter((name) => !(largestDifference(exact, lastOf(name)) > 1e-4));
    // In version 7 the first layer's values are what others are mixed with.
    expect(idle).toEqual(version === '7' ? ['v0', 'v1', 'v2'].map((name) => `blocks.0.att.${name}`) : []);
  });
});

describe.each(versions.filter((version) => version !== '4'))(
  'The reference model of version %s',
  (version) => {
    test('begins with a tuned state, [value][key], wherever its own recurrence has them', () => {
      const withState = randomModel({ ...shape, version, type: 'f32', timeState: true });
      const map = referenceTensors(withState);
      const state = referenceModel(map).initialState();
      const layer = state[1]!;
      const stored = map.get('blocks.1.att.time_state')!.data;
      const [head, value, key] = [2, 3, 5];
      const cell = version === '7' ? (head * 6 + value) * 6 + key : (head * 6 + key) * 6 + value;
      expect(layer.recurrence[cell]).toBe(stored[(head * 6 + value) * 6 + key]);
      expect(layer.attX.every((x) => x === 0)).toBe(true);
      // Reading moves the state on, never the tensor.
      const before = stored.slice();
      referenceModel(map).forward(1, state);
      expect(stored).toEqual(before);
    });
  },
);

describe('A state of the reference', () => {
  test('is laid out layer by layer: att_x, ffn_x, recurrence', () => {
    const layer = (from: number): ReferenceState[number] => ({
      attX: Float64Array.of(from),
      ffnX: Float64Array.of(from + 1),
      recurrence: Float64Array.of(from + 2, from + 3),
    });
    expect([...flattenState([layer(1), layer(5)])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('of version 4 begins with sums of zero below every maximum', () => {
    const model = referenceModel(referenceTensors(randomModel({ ...shape, version: '4', type: 'f32' })));
    const values = flattenState(model.initialState());
    expect(values).toHaveLength(2 * 5 * 24);
    expect([...values].every((value, i) => value === (i % 120 < 96 ? 0 : -1e30))).toBe(true);
  });
});

describe('The reference log-softmax', () => {
  test('gives the logarithms of 1/6, 2/6 and 3/6 for the logarithms of 1, 2 and 3, whatever is added', () => {
    const result = logSoftmax(Float64Array.of(Math.log(1) + 1000, Math.log(2) + 1000, Math.log(3) + 1000));
    expect(largestDifference(result, [Math.log(1 / 6), Math.log(2 / 6), Math.log(3 / 6)])).toBeLessThan(
      1e-12,
    );
  });
});
