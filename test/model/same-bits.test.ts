import { State, loadModel, type LoadOptions, type Model, type Session } from '../../lib/index';
import { sameBits } from '../support/compare';
import { randomNumbers, randomTokens, type RandomModelShape } from '../support/random-model';
import { underEmulator } from '../support/unless';
import { atOnce, concatenate, expectSameBits, inPieces, type Outcome } from '../session/outcomes';
import { temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

/** 192, 96 and 500 divide into no vector register or tile of all their kinds; 600 tokens are several pieces. */
const shape: RandomModelShape = {
  layers: 3,
  embedding: 192,
  headSize: 32,
  feedForward: 500,
  vocabulary: 509,
  type: 'f32',
  seed: 31,
};
const emulated = underEmulator !== false;
// Each precision would take a quarter of an hour there.
const prompt = randomTokens(emulated ? 200 : 600, shape.vocabulary, 1);
const precisions = ['f32', 'int8', ...(emulated ? [] : (['f16', 'bf16', 'int4'] as const))] as const;

describe.each(precisions)('With %s weights, the same tokens give the same bits', (weights) => {
  let path: string;
  let model: Model;
  let expected: Outcome;

  beforeAll(async () => {
    const type = weights === 'int8' || weights === 'int4' ? 'bf16' : weights;
    path = await writeRandomModel(folder, `bits-${weights}`, { ...shape, type });
    model = await loadModel(path, { weights });
    expected = await atOnce(model.createSession(), prompt);
  });
  afterAll(() => model.dispose());

  test('one at a time', async () => {
    expectSameBits(await inPieces(model.createSession(), prompt, () => 1), expected);
  });

  test.each([1, 2, 3])('in random pieces (%d)', async (seed) => {
    const random = randomNumbers(seed);
    const pieces = inPieces(model.createSession(), prompt, () => 1 + Math.floor(random() ** 3 * 200));
    expectSameBits(await pieces, expected);
  });

  test("when only the last token's logits, or none, are asked for", async () => {
    const last = expected.logits.subarray(-shape.vocabulary);
    const session = model.createSession();
    expect(sameBits(await session.evaluate(prompt, { logits: 'last' }), last)).toBe(true);
    expect(sameBits(session.state.values(), expected.state)).toBe(true);
    const quiet = model.createSession();
    expect(await quiet.evaluate(prompt, { logits: 'none' })).toBeUndefined();
    expect(sameBits(await quiet.evaluate([]), last)).toBe(true);
    expect(sameBits(quiet.state.values(), expected.state)).toBe(true);
  });

  test('beside any number of other sessions', async () => {
    const prompts = Array.from({ length: 24 }, (_, i) =>
      randomTokens(1 + ((i * 37) % 150), shape.vocabulary, i),
    );
    const alone: Outcome[] = [];
    for (const tokens of prompts) {
      alone.push(await atOnce(model.createSession(), tokens));
    }
    const together = await Promise.all(prompts.map((tokens) => atOnce(model.createSession(), tokens)));
    together.forEach((outcome, i) => {
      expectSameBits(outcome, alone[i] ?? expected);
    });
    const steps = await Promise.all(
      prompts.map((tokens) => inPieces(model.createSession(), tokens, () => 1)),
    );
    steps.forEach((outcome, i) => {
      expectSameBits(outcome, alone[i] ?? expected);
    });
  });

  const settings: LoadOptions[] = [
    { threads: 1 },
    { threads: 2 },
    { threads: 3 },
    { maxBatch: 1 },
    { maxBatch: 3 },
  ];
  test.each(settings)('with %j', async (options) => {
    await withModel(path, { ...options, weights }, async (other) => {
      const [first, second] = await Promise.all([
        atOnce(other.createSession(), prompt),
        inPieces(other.createSession(), prompt, () => 7),
      ]);
      expectSameBits(first, expected);
      expectSameBits(second, expected);
    });
  });

  test('through fork', async () => {
    const parent = model.createSession();
    const head = await inPieces(parent, prompt.subarray(0, 100), () => 100);
    const branch = parent.fork();
    const [tail, other] = await Promise.all([
      atOnce(parent, prompt.subarray(100)),
      inPieces(branch, prompt.subarray(100), () => 33),
    ]);
    for (const { logits, state } of [tail, other]) {
      expectSameBits({ logits: concatenate([head.logits, logits]), state }, expected);
    }
  });

  test('through serialize, deserialize and resume, in another model of the same file too', async () => {
    const session = model.createSession();
    const head = await atOnce(session, prompt.subarray(0, 100));
    const bytes = session.state.serialize({ precision: 'f32' });
    await withModel(path, { weights }, async (again) => {
      for (const host of [model, again]) {
        const resumed = host.createSession({ state: State.deserialize(bytes) });
        expect(sameBits(await resumed.evaluate([]), head.logits.subarray(-shape.vocabulary))).toBe(true);
        const { logits, state } = await atOnce(resumed, prompt.subarray(100));
        expectSameBits({ logits: concatenate([head.logits, logits]), state }, expected);
      }
    });
  });
});

describe('A session that goes through anything', () => {
  test('is after its tokens what a session is that evaluated the same ones one after the other', async () => {
    const path = await writeRandomModel(folder, 'anything', { ...shape, embedding: 64, layers: 2 });
    await withModel(path, { maxBatch: 5 }, async (model) => {
      /** Evaluates, forks, saves, scores and gives up at random; returns the session and what it has evaluated. */
      const live = async (seed: number): Promise<[Session, number[]]> => {
        const random = randomNumbers(seed);
        let session = model.createSession();
        const seen: number[] = [];
        for (let step = 0; step < 25; step++) {
          const tokens = [
            ...randomTokens(1 + Math.floor(random() ** 4 * 300), shape.vocabulary, seed * 100 + step),
          ];
          const choice = Math.floor(random() * 6);
          if (choice === 0) {
            const branch = session.fork();
            await branch.evaluate(tokens);
            if (random() < 0.5) session = session.fork();
          } else if (choice === 1) {
            session = model.createSession({ state: State.deserialize(session.state.serialize()) });
          } else if (choice === 2) {
            const controller = new AbortController();
            const call = session.evaluate(tokens, { signal: controller.signal });
            setTimeout(() => {
              controller.abort();
            }, random() * 3);
            const [result] = await Promise.allSettled([call]);
            if (result.status === 'fulfilled') seen.push(...tokens);
          } else {
            await (choice === 3 ? session.score(tokens) : session.evaluate(tokens, { logits: 'none' }));
            seen.push(...tokens);
          }
        }
        return [session, seen];
      };
      const lives = await Promise.all(Array.from({ length: 16 }, (_, i) => live(i + 1)));
      for (const [session, seen] of lives) {
        const expected = model.createSession();
        for (const token of seen) {
          await expected.evaluate([token], { logits: 'none' });
        }
        expect(sameBits(session.state.values(), expected.state.values())).toBe(true);
        expect(sameBits(await session.evaluate([]), await expected.evaluate([]))).toBe(true);
      }
    });
  });
});
