import { join } from 'node:path';
import { State, WkvError } from '../../lib/index';
import { sameBits } from '../support/compare';
import { callUnchecked, expectFailure, invalidArgument, thrown } from '../support/failure';
import { randomModel, randomNumbers, randomTokens } from '../support/random-model';
import { xxh64 } from '../support/xxh64';
import {
  runChild,
  smallShape,
  temporaryFolder,
  useRandomModel,
  withModel,
  writeRandomModel,
  writeTensors,
} from '../support/model';

const folder = temporaryFolder();
const { layers, embedding, headSize, vocabulary } = smallShape;
const heads = embedding / headSize;

let snapshot: State;
let last: Float32Array;
const { model } = useRandomModel();
beforeAll(async () => {
  const session = model().createSession();
  last = await session.evaluate(randomTokens(100, vocabulary, 1));
  snapshot = session.state;
});

/** Where the parts of a state lie that are scaled together: att_x, ffn_x, and each head of wkv. */
function blocks(): [start: number, length: number][] {
  const lengths = Array.from({ length: layers }, () => [
    embedding,
    embedding,
    ...Array.from({ length: heads }, () => headSize * headSize),
  ]).flat();
  let start = 0;
  return lengths.map((length) => {
    const block: [number, number] = [start, length];
    start += length;
    return block;
  });
}

describe('A state', () => {
  test('has per layer att_x, ffn_x and wkv', () => {
    expect(snapshot.values()).toHaveLength(layers * (2 * embedding + heads * headSize * headSize));
    expect(snapshot.values().length * 4).toBe(model().info.stateBytes);
  });

  test('can begin any number of sessions', async () => {
    for (let i = 0; i < 3; i++) {
      const session = model().createSession({ state: snapshot });
      expect(sameBits(await session.evaluate([]), last)).toBe(true);
      await session.evaluate([i]);
    }
    expect(sameBits(model().createSession({ state: snapshot }).state.values(), snapshot.values())).toBe(true);
  });

  test('goes through f32 bytes without a change', () => {
    const again = State.deserialize(snapshot.serialize({ precision: 'f32' }));
    expect(sameBits(again.values(), snapshot.values())).toBe(true);
  });

  test('is serialized as f32 where nothing else is asked for, and to the same bytes each time', () => {
    const bytes = snapshot.serialize();
    expect(sameBits(bytes, snapshot.serialize({ precision: 'f32' }))).toBe(true);
    expect(sameBits(State.deserialize(bytes).serialize(), bytes)).toBe(true);
  });

  test('goes through f16 bytes with the precision of f16, in little more than half the space', async () => {
    const bytes = snapshot.serialize({ precision: 'f16' });
    const full = snapshot.serialize({ precision: 'f32' });
    expect(full.length - bytes.length).toBeGreaterThan(snapshot.values().length * 1.9);
    const [exact, rounded] = [snapshot.values(), State.deserialize(bytes).values()];
    for (const [start, length] of blocks()) {
      const largest = exact.subarray(start, start + length).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      for (let i = start; i < start + length; i++) {
        // Half a unit in the last of 11 bits, of the largest value that shares a scale.
        expect(Math.abs((exact[i] ?? NaN) - (rounded[i] ?? NaN))).toBeLessThanOrEqual(largest * 2 ** -11);
      }
    }
    const session = model().createSession({ state: State.deserialize(bytes) });
    expect(sameBits(await session.evaluate([]), last)).toBe(true);
  });

  test('returns bytes that are fresh, and copies the bytes that it is given', () => {
    const bytes = snapshot.serialize();
    const kept = bytes.slice();
    const again = State.deserialize(bytes);
    bytes.fill(0);
    expect(sameBits(snapshot.serialize(), kept)).toBe(true);
    expect(sameBits(again.serialize(), kept)).toBe(true);
  });

  test('is read from any part of a larger buffer', () => {
    const bytes = snapshot.serialize();
    const larger = new Uint8Array(bytes.length + 10);
    larger.set(bytes, 3);
    const again = State.deserialize(larger.subarray(3, 3 + bytes.length));
    expect(sameBits(again.values(), snapshot.values())).toBe(true);
  });

  test('is read from memory that threads share', () => {
    const bytes = snapshot.serialize();
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    expect(sameBits(State.deserialize(shared).values(), snapshot.values())).toBe(true);
  });

  test('fits a model of the same weights from another file, container and weight type', async () => {
    const bf16 = randomModel({ ...smallShape, type: 'bf16' });
    const pth = await writeTensors(folder, 'bf16', 'pth', bf16);
    const safetensors = await writeTensors(folder, 'bf16', 'safetensors', bf16);
    const tokens = randomTokens(20, vocabulary, 2);
    const [state, logits] = await withModel(pth, { weights: 'bf16' }, async (one) => {
      const session = one.createSession();
      return [(await session.evaluate(tokens), session.state), await session.evaluate([7])] as const;
    });
    for (const weights of ['bf16', 'f32'] as const) {
      const found = await withModel(safetensors, { weights }, (other) =>
        other.createSession({ state }).evaluate([7]),
      );
      expect(found).toHaveLength(logits.length);
      // The same weights, computed in f32 from either type: a few ulps of logits of about 10.
      expect(Math.max(...found.map((value, i) => Math.abs(value - (logits[i] ?? NaN))))).toBeLessThan(1e-4);
    }
  });

  test.each([
    ['other weights', { ...smallShape, seed: 99 }],
    ['another width', { ...smallShape, embedding: 32 }],
    ['other layers', { ...smallShape, layers: 3 }],
    ['another head size, and as many values', { ...smallShape, headSize: 16, embedding: 128, layers: 1 }],
  ])('of another model is refused: %s', async (_what, shape) => {
    await withModel(await writeRandomModel(folder, 'other', shape), {}, (other) => {
      for (const state of [snapshot, State.deserialize(snapshot.serialize())]) {
        expectFailure(
          thrown(() => other.createSession({ state })),
          {
            code: 'ERR_WKV_STATE',
            expected: new RegExp(`^expected: fingerprint ${other.info.fingerprint}$`),
            found: new RegExp(`^found: fingerprint ${model().info.fingerprint}$`),
          },
        );
      }
    });
  });
});

describe('State.deserialize refuses', () => {
  test('every beginning of a state that is not the whole', () => {
    const bytes = snapshot.serialize();
    const step = Math.max(1, Math.floor(bytes.length / 2000));
    const lengths = new Set([...Array.from({ length: 300 }, (_, i) => i), bytes.length - 1]);
    for (let length = 300; length < bytes.length; length += step) {
      lengths.add(length);
    }
    const taken = [...lengths].filter((length) => !isRefused(bytes.subarray(0, length)));
    expect(taken).toEqual([]);
  });

  test('a state with something behind its end', () => {
    const bytes = snapshot.serialize();
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(isRefused(longer)).toBe(true);
  });

  test('a state with any one bit changed', () => {
    const bytes = snapshot.serialize({ precision: 'f16' });
    const random = randomNumbers(3);
    const positions = Array.from({ length: 1500 }, (_, i) =>
      i < 300 ? i : Math.floor(random() * bytes.length),
    );
    const taken = positions.filter((position) => {
      const damaged = bytes.slice();
      damaged[position] = (damaged[position] ?? 0) ^ (1 << Math.floor(random() * 8));
      return !isRefused(damaged);
    });
    expect(taken).toEqual([]);
  });

  test('random bytes, and none', () => {
    const random = randomNumbers(4);
    for (const length of [0, 1, 64, 1000, 100_000]) {
      expect(isRefused(Uint8Array.from({ length }, () => random() * 256))).toBe(true);
    }
  });

  test.each([[undefined], [null], ['text'], [5], [[1, 2, 3]], [{}], [Float32Array.of(1)]])(
    'what is no bytes with a TypeError: %p',
    (value) => {
      const error = thrown(() => callUnchecked(State, 'deserialize', [value]));
      expectFailure(error, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    },
  );

  /** Whether the bytes are refused in the one way that damaged bytes should be. */
  function isRefused(bytes: Uint8Array): boolean {
    try {
      State.deserialize(bytes);
      return false;
    } catch (error) {
      return error instanceof WkvError && error.code === 'ERR_WKV_STATE';
    }
  }
});

describe('state.serialize refuses', () => {
  test.each([
    [{ precision: 'f64' }, /precision/],
    [{ precise: 'f16' }, /precise/],
    ['f16', /options/],
  ])('%j with a TypeError that names the key', (options, message) => {
    const error = thrown(() => callUnchecked(snapshot, 'serialize', [options]));
    expectFailure(error, invalidArgument(message));
  });
});

describe('A state with a checksum that fits, made by somebody who means harm,', () => {
  test('is refused, and whatever is not behaves', async () => {
    const path = await writeRandomModel(folder, 'hostile');
    const { code, stdout, stderr } = await runChild(join(__dirname, 'child-hostile-states.ts'), [path]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const outcomes = Object.entries(JSON.parse(stdout) as Record<string, string>);
    const usable = outcomes.filter(([, outcome]) => outcome.startsWith('usable')).map(([name]) => name);
    // What the state has already: writing it again changes nothing.
    expect(
      usable.filter(
        (name) =>
          !/unchanged|version 2$|counts 0$|precision [01]$|hasLogits 1$|layers 2$|parts 3$/.test(name),
      ),
    ).toEqual([]);
    expect(usable.filter((name) => name.endsWith('unchanged'))).toHaveLength(2);
    const strange = outcomes.filter(
      ([, outcome]) => !/^(usable, \d+ numbers|ERR_WKV_(STATE|MEMORY)( of the model)?)$/.test(outcome),
    );
    expect(strange).toEqual([]);
  });
});

test('A state that claims more tokens than can be counted is refused', () => {
  const bytes = model().createSession().state.serialize();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const claim = (tokens: bigint): Uint8Array => {
    view.setBigUint64(48, tokens, true);
    view.setBigUint64(bytes.length - 8, xxh64(bytes.subarray(0, bytes.length - 8)), true);
    return bytes;
  };
  expect(State.deserialize(claim(2n ** 53n - 1n)).tokens).toBe(2 ** 53 - 1);
  for (const tokens of [2n ** 53n, 2n ** 64n - 1n]) {
    const error = thrown(() => State.deserialize(claim(tokens)));
    expectFailure(error, { type: WkvError, code: 'ERR_WKV_STATE', found: new RegExp(`^found: ${tokens}$`) });
  }
});

test('A state that computing has driven to NaN is not written, alone or in a chat, where none could read it', async () => {
  const values = new Float32Array(model().createSession().state.values().length).fill(3e38);
  const state = model().importState(values, { layout: 'rwkv.cpp' });
  const session = model().createSession({ state });
  expect((await session.evaluate([1])).some(Number.isNaN)).toBe(true);
  const chat = model().createChat({ session });
  for (const write of [() => session.state.serialize(), () => chat.serialize()]) {
    expectFailure(thrown(write), { type: WkvError, code: 'ERR_WKV_STATE', message: /finite/ });
  }
  await expect(session.state.serializeAsync()).rejects.toMatchObject({ code: 'ERR_WKV_STATE' });
  expect(session.state.values()).toHaveLength(values.length);
});

test('A state without logits that claims another vocabulary is refused by the model', () => {
  const bytes = model().createSession().state.serialize();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  expect(view.getUint32(72, true)).toBe(vocabulary);
  view.setUint32(72, vocabulary - 1, true);
  view.setBigUint64(bytes.length - 8, xxh64(bytes.subarray(0, bytes.length - 8)), true);
  const state = State.deserialize(bytes);
  const error = thrown(() => model().createSession({ state }));
  expectFailure(error, { type: WkvError, code: 'ERR_WKV_STATE', message: /layout/ });
});

test('A copy of a state that was sent between threads is refused: nothing is in it', () => {
  const copy: unknown = structuredClone(snapshot);
  const error = thrown(() => callUnchecked(model(), 'createSession', [{ state: copy }]));
  expectFailure(error, invalidArgument(/options\.state: expected a State, found an object$/));
});
