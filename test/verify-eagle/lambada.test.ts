import { join } from 'node:path';
import { judge, parseLambada, scorePassage, scorePassages, summarize } from '../../scripts/lib/lambada';
import { logSoftmax } from '../reference/common';
import { oracle, smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';
import { randomModel, randomTokens } from '../support/random-model';

const lines = (...texts: string[]): string => texts.map((text) => JSON.stringify({ text })).join('\n');

describe('reading a list of passages', () => {
  test('takes the last word, with the space before it, as the target', () => {
    expect(parseLambada(lines('He came on his own, Shane'), 'list')).toEqual([
      { context: 'He came on his own,', target: ' Shane' },
    ]);
  });

  test('leaves line breaks within the context, and empty lines of the file out', () => {
    expect(parseLambada(`${lines('one\n\ntwo three')}\r\n\n${lines('four five')}\n`, 'list')).toEqual([
      { context: 'one\n\ntwo', target: ' three' },
      { context: 'four', target: ' five' },
    ]);
  });

  test.each([
    ['no JSON', `${lines('a b')}\nfoo`, /^list, line 2: expected JSON/],
    ['no text', '{"txt": "a b"}', /^list, line 1: expected an object with a "text"/],
    ['null', 'null', /^list, line 1: expected an object/],
    ['a text that is no string', '{"text": 1}', /^list, line 1: expected an object/],
    ['a single word', lines('alone'), /^list, line 1: expected a text of at least two words/],
    ['nothing after the last space', lines('a b '), /^list, line 1: expected a text of at least two words/],
    ['no passages', '\n', /^list: expected at least one passage/],
  ])('refuses %s', (_what, content, message) => {
    expect(() => parseLambada(content, 'list')).toThrow(message);
  });
});

describe('the log-probability of a token', () => {
  test('is that of the softmax', () => {
    // Odds of 1 : 2 : 5.
    const logits = Float32Array.of(Math.log(1), Math.log(2), Math.log(5));
    // f32 logits have 24 bits, so a difference of two of them is within 1e-6.
    expect(judge(logits, 1).logProbability).toBeCloseTo(Math.log(2 / 8), 6);
  });

  test('does not overflow where logits are large', () => {
    expect(judge(Float32Array.of(1000, 1000), 0).logProbability).toBeCloseTo(Math.log(1 / 2), 12);
  });

  test('of equally probable tokens the first is the best one', () => {
    const logits = Float32Array.of(0, 3, 3);
    expect([0, 1, 2].map((token) => judge(logits, token).isBest)).toEqual([false, true, false]);
  });
});

describe('summing up', () => {
  const score = (logProbability: number, greedy: boolean) => ({ logProbability, greedy });

  test('perplexity is exp of minus the mean log-probability of a target', () => {
    const { perplexity } = summarize([score(Math.log(1 / 2), true), score(Math.log(1 / 8), false)]);
    expect(perplexity).toBeCloseTo(4, 12); // the geometric mean of 2 and 8
  });

  test('accuracy is the share of targets that greedy decoding writes', () => {
    const results = [true, false, true, true].map((greedy) => score(-1, greedy));
    expect(summarize(results)).toMatchObject({
      passages: 4,
      accuracy: 0.75,
      accuracyStandardError: Math.sqrt((0.75 * 0.25) / 4),
    });
  });
});

describe('scoring passages', () => {
  const folder = temporaryFolder();
  const tensors = randomModel(smallShape);
  /** What the oracle says of a passage. */
  const expected = (context: Uint32Array, target: Uint32Array) => {
    const { logits } = oracle(tensors, [...context, ...target]);
    const before = [...target].map((_, i) => logits[context.length - 1 + i]!);
    return {
      logProbability: before.reduce((sum, values, i) => sum + logSoftmax(values)[target[i]!]!, 0),
      greedy: before.every((values, i) => values.every((value) => value <= values[target[i]!]!)),
    };
  };
  /** What the oracle writes greedily after `context`. */
  const greedyTarget = (context: Uint32Array, length: number): Uint32Array => {
    const target: number[] = [];
    for (let i = 0; i < length; i++) {
      const last = oracle(tensors, [...context, ...target]).logits.at(-1)!;
      target.push(last.indexOf(Math.max(...last)));
    }
    return Uint32Array.from(target);
  };
  const context = randomTokens(40, smallShape.vocabulary, 1);
  const greedy = greedyTarget(context, 3);
  const lastWrong = Uint32Array.of(greedy[0]!, greedy[1]!, (greedy[2]! + 1) % smallShape.vocabulary);
  const firstWrong = Uint32Array.of((greedy[0]! + 1) % smallShape.vocabulary, greedy[1]!);
  // Logits are within 1e-4 of the oracle (test/model), so a log-probability is within twice that.
  const perToken = 2e-4;

  test.each([
    ['the greedy target', greedy],
    ['a target whose last token is another', lastWrong],
    ['a target whose first token is another', firstWrong],
    ['a target of one token', greedy.slice(0, 1)],
    ['an improbable target', randomTokens(5, smallShape.vocabulary, 2)],
  ])('agrees with the oracle on %s', async (_what, target) => {
    const path = await writeRandomModel(folder, 'scored');
    const { logProbability, greedy: right } = await withModel(path, {}, (model) =>
      scorePassage(model, { context, target }),
    );
    const reference = expected(context, target);
    expect(Math.abs(logProbability - reference.logProbability)).toBeLessThan(perToken * target.length);
    expect(right).toBe(reference.greedy);
  });

  test('the greedy target counts as right, others as wrong', () => {
    const judged = [greedy, lastWrong, firstWrong].map((target) => expected(context, target).greedy);
    expect(judged).toEqual([true, false, false]);
  });

  test('many at a time give what each gives alone', async () => {
    const path = await writeRandomModel(folder, 'many');
    const passages = Array.from({ length: 10 }, (_, i) => ({
      context: randomTokens(20 + 7 * i, smallShape.vocabulary, 10 + i),
      target: randomTokens(1 + (i % 3), smallShape.vocabulary, 20 + i),
    }));
    await withModel(path, {}, async (model) => {
      const together: number[] = [];
      await scorePassages(model, passages, {
        sessions: 4,
        onScored: ({ logProbability }) => together.push(logProbability),
      });
      const alone: number[] = [];
      for (const passage of passages) alone.push((await scorePassage(model, passage)).logProbability);
      const ascending = (a: number, b: number): number => a - b;
      // Not "about": results do not depend on what runs beside them.
      expect(together.sort(ascending)).toEqual(alone.sort(ascending));
    });
  });

  test('an abort ends it with the reason of the signal', async () => {
    const path = await writeRandomModel(join(folder), 'aborted');
    await withModel(path, {}, async (model) => {
      const controller = new AbortController();
      const reason = new Error('enough');
      const scoring = scorePassages(
        model,
        Array.from({ length: 50 }, () => ({ context, target: greedy })),
        {
          sessions: 2,
          signal: controller.signal,
          onScored: () => controller.abort(reason),
        },
      );
      await expect(scoring).rejects.toBe(reason);
    });
  });
});
