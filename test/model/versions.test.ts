import { State, loadModel, type LoadOptions, type Model } from '../../lib/index';
import { flattenState } from '../reference/common';
import { plainInt4 } from '../reference/int4';
import { plainInt8 } from '../reference/int8';
import { referenceModel } from '../reference/model';
import { largestDifference, sameBits } from '../support/compare';
import {
  randomModel,
  randomNumbers,
  randomTokens,
  referenceTensors,
  versions,
  type RandomModelShape,
  type RandomTensor,
} from '../support/random-model';
import { atOnce, concatenate, expectSameBits, inPieces, type Outcome } from '../session/outcomes';
import { distributions, meanDivergence, withProduct } from './quality';
import { allLogits, oracle, row, temporaryFolder, withModel, writeTensors } from '../support/model';

/** As in random-models.test.ts. */
const tolerance = 1e-4;

/** Three layers and three heads, of widths that no register divides. */
const usual = {
  layers: 3,
  embedding: 78,
  headSize: 26,
  feedForward: 131,
  vocabulary: 251,
  type: 'bf16',
  seed: 41,
  ranks: { mix: 7, decay: 13, w: 13, a: 11, v: 5, g: 17 },
} as const satisfies RandomModelShape;

/** More tokens than a step has room for. */
const prompt = randomTokens(150, usual.vocabulary, 1);
const { layers, embedding: D, headSize: N } = usual;

const folder = temporaryFolder();

/** Compares a few logits, and the state, with the oracle's. */
async function expectOracle(name: string, tensors: RandomTensor[], limit: number): Promise<void> {
  const tokens = prompt.subarray(0, 40);
  const { logits: references, state } = oracle(tensors, tokens);
  const file = await writeTensors(folder, name, 'safetensors', tensors);
  await withModel(file, {}, async (model) => {
    const session = model.createSession();
    const logits = await allLogits(session, tokens);
    const differences = references.map((reference, i) =>
      largestDifference(row(logits, i, usual.vocabulary), reference),
    );
    expect(Math.max(...differences)).toBeLessThanOrEqual(limit);
    expect(largestDifference(session.state.values(), state)).toBeLessThanOrEqual(limit);
  });
}

describe.each(versions)('Version %s', (version) => {
  const tensors = randomModel({ ...usual, version });
  let path: string;
  let model: Model;
  let expected: Outcome;
  beforeAll(async () => {
    path = await writeTensors(folder, `usual-${version}`, 'pth', tensors);
    model = await loadModel(path);
    expected = await atOnce(model.createSession(), prompt);
  });
  afterAll(() => model.dispose());

  test('says what it is, and how much a session takes', () => {
    expect(model.info).toMatchObject({
      architecture: `rwkv${version.charAt(0)}`,
      version,
      layers,
      embedding: D,
      feedForward: usual.feedForward,
      vocabulary: usual.vocabulary,
      weights: 'f32',
    });
    const recurrence = version === '4' ? 3 * D : (D / N) * N * N;
    expect(model.info.stateBytes).toBe(layers * (2 * D + recurrence) * 4);
    expect(expected.state).toHaveLength(layers * (2 * D + recurrence));
  });

  describe.each(['f32', 'int8', 'int4'] as const)('with %s weights gives the same bits', (weights) => {
    let other: Model;
    let whole: Outcome;
    beforeAll(async () => {
      other = await loadModel(path, { weights });
      whole = await atOnce(other.createSession(), prompt);
    });
    afterAll(() => other.dispose());

    test('one token at a time, and in random pieces', async () => {
      expectSameBits(await inPieces(other.createSession(), prompt, () => 1), whole);
      const random = randomNumbers(2);
      const pieces = inPieces(other.createSession(), prompt, () => 1 + Math.floor(random() ** 2 * 70));
      expectSameBits(await pieces, whole);
    });

    test('beside other sessions', async () => {
      const prompts = Array.from({ length: 9 }, (_, i) =>
        prompt.subarray(i * 3, i * 3 + 1 + ((i * 29) % 70)),
      );
      const alone: Outcome[] = [];
      for (const tokens of prompts) alone.push(await atOnce(other.createSession(), tokens));
      const together = await Promise.all(
        [...prompts, prompt].map((tokens, i) =>
          inPieces(other.createSession(), tokens, () => (i % 2 === 0 ? 1 : 40)),
        ),
      );
      together.forEach((outcome, i) => {
        expectSameBits(outcome, alone[i] ?? whole);
      });
    });

    test.each<LoadOptions>([{ threads: 1 }, { threads: 3 }, { maxBatch: 1 }])('with %j', async (options) => {
      await withModel(path, { ...options, weights }, async (again) => {
        expectSameBits(await inPieces(again.createSession(), prompt, () => 31), whole);
      });
    });
  });

  test('forks', async () => {
    const parent = model.createSession();
    const head = await atOnce(parent, prompt.subarray(0, 50));
    const branch = parent.fork();
    const rest = await Promise.all([
      atOnce(parent, prompt.subarray(50)),
      inPieces(branch, prompt.subarray(50), () => 9),
    ]);
    for (const { logits, state } of rest) {
      expectSameBits({ logits: concatenate([head.logits, logits]), state }, expected);
    }
    // Neither sees what the other does.
    const [one, two] = [model.createSession(), model.createSession()];
    await one.evaluate([1]);
    const apart = one.fork();
    await apart.evaluate([2]);
    await two.evaluate([1, 3]);
    expect(sameBits(await one.evaluate([3]), await two.evaluate([]))).toBe(true);
  });

  test('goes on from a state saved as f32 with the same bits', async () => {
    const session = model.createSession();
    const head = await atOnce(session, prompt.subarray(0, 50));
    const bytes = session.state.serialize({ precision: 'f32' });
    await withModel(path, {}, async (again) => {
      const resumed = again.createSession({ state: State.deserialize(bytes) });
      const { logits, state } = await atOnce(resumed, prompt.subarray(50));
      expectSameBits({ logits: concatenate([head.logits, logits]), state }, expected);
    });
  });

  test('goes on from a state saved as f16 with nearly the same logits', async () => {
    const session = model.createSession();
    await session.evaluate(prompt.subarray(0, 50));
    const exact = session.state.values();
    const saved = State.deserialize(session.state.serialize({ precision: 'f16' }));
    const rounded = saved.values();
    expect(rounded).toHaveLength(exact.length);
    // Half a unit in the last of 11 bits, of the largest number: a state has none that is too small for f16.
    const largest = exact.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(largestDifference(rounded, exact)).toBeLessThanOrEqual(largest * 2 ** -11);
    if (version === '4') {
      // The logarithm of what aa and bb are divided by: rounded, it would scale them by several percent.
      const maxima = (values: Float32Array): Float32Array => values.filter((_, i) => i % (5 * D) >= 4 * D);
      expect(sameBits(maxima(rounded), maxima(exact))).toBe(true);
    }
    expect(sameBits(rounded, exact)).toBe(false);
    const resumed = await allLogits(model.createSession({ state: saved }), prompt.subarray(50));
    // Logits of about +-10; what another state gives is whole units away.
    const kept = expected.logits.subarray(50 * usual.vocabulary);
    expect(largestDifference(resumed, kept)).toBeLessThan(0.1);
  });

  test.each(['f32', 'f16'] as const)(
    'goes on from a fresh state saved as %s with the same bits',
    async (precision) => {
      const { state } = model.createSession();
      const initial = flattenState(referenceModel(referenceTensors(tensors)).initialState());
      expect(sameBits(state.values(), Float32Array.from(initial))).toBe(true);
      const saved = State.deserialize(state.serialize({ precision }));
      expect(sameBits(saved.values(), state.values())).toBe(true);
      expectSameBits(await atOnce(model.createSession({ state: saved }), prompt), expected);
    },
  );

  test("is packed as f16 between calls with statePrecision: 'f16'", async () => {
    await withModel(path, { statePrecision: 'f16' }, async (half) => {
      expect(half.info.stateBytes).toBeLessThan(0.8 * model.info.stateBytes);
      const packed = half.createSession();
      expect(sameBits(await allLogits(packed, prompt), expected.logits)).toBe(true);
      const session = model.createSession();
      await session.evaluate(prompt);
      const rounded = State.deserialize(session.state.serialize({ precision: 'f16' }));
      expect(sameBits(packed.state.values(), rounded.values())).toBe(true);
      const next = await model.createSession({ state: rounded }).evaluate([7]);
      expect(sameBits(await packed.evaluate([7]), next)).toBe(true);
    });
  });

  test('takes decays of nothing at all and of everything at once', async () => {
    // e^d is beyond f32 and below it; version 7 has a sigmoid there.
    const extreme = tensors.map((tensor) => {
      if (!/\.(time_decay|w0)$/.test(tensor.name)) return tensor;
      return {
        ...tensor,
        type: 'f32' as const,
        data: tensor.data.map((_, i) => [-1e4, 1e4, -90, 90][i % 4]!),
      };
    });
    await expectOracle(`extreme-${version}`, extreme, tolerance);
  });

  test('stays as near to f32 with int8 and int4 weights as plain rounding does', async () => {
    const texts = [Uint8Array.from(prompt.subarray(0, 60)), Uint8Array.from(prompt.subarray(60, 120))];
    const map = referenceTensors(tensors);
    const exact = await distributions(model, texts);
    for (const [weights, plain, times] of [
      ['int8', plainInt8(), 1],
      // Of 4.3 bits a weight where plain has 4.5; here, where all channels are alike, that is about as good.
      ['int4', plainInt4(), 1.3],
    ] as const) {
      const found = await withModel(path, { weights }, (other) => distributions(other, texts));
      const limit = times * meanDivergence(exact, withProduct(map, plain, texts));
      expect(meanDivergence(exact, found)).toBeGreaterThan(0);
      expect(meanDivergence(exact, found)).toBeLessThanOrEqual(limit);
    }
  });
});

describe.each(versions.filter((version) => version !== '4'))('A tuned model of version %s', (version) => {
  test('begins where the time_state of its file says', async () => {
    const tunedTensors = randomModel({ ...usual, version, timeState: true });
    const tokens = prompt.subarray(0, 40);
    const { logits: references, state: end } = oracle(tunedTensors, tokens);
    const initial = flattenState(referenceModel(referenceTensors(tunedTensors)).initialState());
    const tunedPath = await writeTensors(folder, `tuned-${version}`, 'safetensors', tunedTensors);
    await withModel(tunedPath, {}, async (begun) => {
      const session = begun.createSession();
      expect(sameBits(session.state.values(), Float32Array.from(initial))).toBe(true);
      const branch = session.fork();
      const saved = State.deserialize(session.state.serialize());
      const logits = await allLogits(session, tokens);
      const differences = references.map((reference, i) =>
        largestDifference(row(logits, i, usual.vocabulary), reference),
      );
      expect(Math.max(...differences)).toBeLessThanOrEqual(tolerance);
      expect(largestDifference(session.state.values(), end)).toBeLessThanOrEqual(tolerance);
      for (const other of [branch, begun.createSession({ state: saved }), begun.createSession()]) {
        expect(sameBits(await allLogits(other, tokens), logits)).toBe(true);
      }
    });
    await withModel(tunedPath, { weights: 'int8' }, (begun) => {
      expect(sameBits(begun.createSession().state.values(), Float32Array.from(initial))).toBe(true);
    });
  });
});

describe('Version 7', () => {
  test('takes a first layer with or without v0, v1 and v2, and gives the same bits', async () => {
    const withAll = randomModel({ ...usual, version: '7' });
    const without = withAll.filter(({ name }) => !/^blocks\.0\.att\.v[012]$/.test(name));
    expect(without).toHaveLength(withAll.length - 3);
    const logits = await Promise.all(
      [withAll, without].map(async (tensors, i) =>
        withModel(await writeTensors(folder, `unused-${i}`, 'pth', tensors), {}, (model) =>
          allLogits(model.createSession(), prompt.subarray(0, 20)),
        ),
      ),
    );
    expect(sameBits(logits[0]!, logits[1]!)).toBe(true);
  });

  test('divides heads without a direction by no zero', async () => {
    const tensors = randomModel({ ...usual, version: '7' }).map((tensor) => {
      if (!tensor.name.endsWith('.k_k')) return tensor;
      return { ...tensor, data: tensor.data.map((value, i) => (i < N ? 0 : value)) };
    });
    await expectOracle('no-direction', tensors, tolerance);
  });
});

describe('Version 4', () => {
  test('overflows nowhere with keys of hundreds', async () => {
    const tensors = randomModel({ ...usual, version: '4' }).map((tensor) => {
      if (!tensor.name.endsWith('.att.key.weight')) return tensor;
      return { ...tensor, data: tensor.data.map((value) => value * 128) };
    });
    // A key of 500 is off by 5e-5 in f32, and e^key by as much of itself.
    await expectOracle('large-keys', tensors, 20 * tolerance);
  });
});

describe('Version 5.0', () => {
  test('takes time_first as the logarithm of time_faaaa', async () => {
    const tensors = randomModel({ ...usual, version: '5.0', type: 'f32' });
    const logarithms = tensors.map((tensor) => {
      if (!tensor.name.endsWith('.time_faaaa')) return tensor;
      const positive = tensor.data.map((value) => Math.abs(value) + 0.1);
      return { ...tensor, data: positive };
    });
    const named = logarithms.map((tensor) => {
      if (!tensor.name.endsWith('.time_faaaa')) return tensor;
      const name = tensor.name.replace('faaaa', 'first');
      return { ...tensor, name, data: tensor.data.map(Math.log) };
    });
    const [raw, exponential] = await Promise.all(
      [logarithms, named].map(async (each, i) =>
        withModel(await writeTensors(folder, `bonus-${i}`, 'pth', each), {}, (model) =>
          allLogits(model.createSession(), prompt.subarray(0, 20)),
        ),
      ),
    );
    // The logarithm is rounded to f32, which moves the bonus by a few of its last bits.
    expect(largestDifference(raw!, exponential!)).toBeLessThan(tolerance);
  });
});
