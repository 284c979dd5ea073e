import { largestDifference } from '../support/compare';
import { describeWithFixtures, fixturePath, readExpected, readSafetensors } from '../support/fixtures';
import { ReferenceModel, flattenState, logSoftmax } from './rwkv5';

/**
 * The expected values are float64 results stored as float32: half a unit in the last place of the largest
 * magnitudes (logits below 16, state entries below 64) is 2^-21 and 2^-19.
 */
const logitsTolerance = 2 ** -21;
const stateTolerance = 2 ** -19;

describeWithFixtures('The reference model on trained models', () => {
  describe.each(['fp16', 'bf16'])('with %s weights', (type) => {
    const model = new ReferenceModel(readSafetensors(fixturePath('v5.2', `tiny.${type}.safetensors`)));

    test.each(['A', 'B'])(
      'gives the expected logits at every position, state and greedy tokens of %s',
      (prompt) => {
        const {
          tokens,
          logits,
          vocabulary,
          state: expectedState,
          greedy,
        } = readExpected('v5.2', type, prompt);
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
    const model = new ReferenceModel(tensors, { groupNormEpsilon: 1e-5 });
    const { tokens, logits, vocabulary } = readExpected('v5.2', 'bf16', 'A');
    const state = model.initialState();
    const last = tokens.map((token) => model.forward(token, state)).at(-1) ?? [];
    expect(largestDifference(last, logits.subarray(-vocabulary))).toBeGreaterThan(0.01);
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
