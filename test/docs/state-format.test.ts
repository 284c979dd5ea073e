// Reads serialized states by docs/state-format.md alone, in plain TypeScript.

import { State, type Session } from '../../lib/index';
import { expectFailure, thrown } from '../support/failure';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';
import { bitsToFloat } from '../support/float16';
import { randomTokens } from '../support/random-model';
import { xxh64 } from '../support/xxh64';

const half = (bits: number): number => bitsToFloat('f16', bits);

interface ParsedState {
  version: number;
  precision: number;
  fingerprint: string;
  tokens: bigint;
  seed: bigint;
  draws: bigint;
  vocabulary: number;
  layers: number;
  parts: { name: string; count: number; group: number }[];
  /** What the sampler counts. */
  counts: { token: number; count: number }[];
  /** The scale of each group, in order; f16 only. */
  scales: number[];
  /** The groups of numbers, in order. */
  groups: Float64Array[];
  logits: Float32Array | undefined;
}

function parseState(bytes: Uint8Array): ParsedState {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ascii = (from: number, length: number): string =>
    Buffer.from(bytes.subarray(from, from + length)).toString('latin1');
  const u32 = (from: number): number => view.getUint32(from, true);
  expect(ascii(0, 8)).toBe('WKVSTATE');
  expect(view.getBigUint64(bytes.length - 8, true)).toBe(xxh64(bytes.subarray(0, -8)));

  const precision = u32(12);
  const vocabulary = u32(72);
  const layers = u32(80);
  const parts = Array.from({ length: u32(84) }, (_, i) => ({
    name: ascii(88 + 24 * i, 16).replace(/\0+$/, ''),
    count: u32(88 + 24 * i + 16),
    group: u32(88 + 24 * i + 20),
  }));
  let at = 88 + 24 * parts.length;
  const counts = Array.from({ length: u32(at) }, (_, i) => ({
    token: u32(at + 4 + 12 * i),
    count: view.getFloat64(at + 8 + 12 * i, true),
  }));
  at += 4 + 12 * counts.length;
  const scales: number[] = [];
  const groups: Float64Array[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const { count, group } of parts) {
      for (let done = 0; done < count; done += group) {
        if (precision === 0) {
          groups.push(Float64Array.from({ length: group }, (_, i) => view.getFloat32(at + 4 * i, true)));
          at += 4 * group;
        } else {
          const scale = view.getFloat32(at, true);
          const first = at + 4;
          groups.push(
            Float64Array.from({ length: group }, (_, i) => half(view.getUint16(first + 2 * i, true)) * scale),
          );
          scales.push(scale);
          at += 4 + 2 * group;
        }
      }
    }
  }
  let logits: Float32Array | undefined;
  if (u32(76) === 1) {
    const begin = at;
    logits = Float32Array.from({ length: vocabulary }, (_, i) => view.getFloat32(begin + 4 * i, true));
    at += 4 * vocabulary;
  }
  expect(at).toBe(bytes.length - 8);
  return {
    version: u32(8),
    precision,
    fingerprint: ascii(16, 32),
    tokens: view.getBigUint64(48, true),
    seed: view.getBigUint64(56, true),
    draws: view.getBigUint64(64, true),
    vocabulary,
    layers,
    parts,
    counts,
    scales,
    groups,
    logits,
  };
}

const flat = (groups: Float64Array[]): number[] => groups.flatMap((group) => [...group]);

const folder = temporaryFolder();
const tokens = randomTokens(50, smallShape.vocabulary, 3);

/** Hands on a session that has seen `tokens`, with its model's fingerprint. */
async function withSession(
  use: (session: Session, fingerprint: string) => Promise<void> | void,
): Promise<void> {
  const path = await writeRandomModel(folder, 'model');
  await withModel(path, {}, async (model) => {
    const session = model.createSession();
    await session.evaluate(tokens);
    await use(session, model.info.fingerprint);
  });
}

describe('the XXH64 of this test', () => {
  // Values that implementations of XXH64 are commonly tested with; the last one has more than 32 bytes.
  test.each([
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['asdf', 0x415872f599cea71en],
    ['Call me Ishmael. Some years ago--never mind how long precisely-', 0x02a2e85470d6fd96n],
  ])('is right for %j', (text, expected) => {
    expect(xxh64(Buffer.from(text))).toBe(expected);
  });
});

describe('a serialized state, read by its documentation alone', () => {
  test('has the header, the parts and the sizes that the page gives', async () => {
    await withSession(async (session, fingerprint) => {
      const generated = await session.complete([], { maxTokens: 4, stopTokens: [], seed: 12345678901n });
      const { layers, embedding: D, headSize: N } = smallShape;
      const parsed = parseState(session.state.serialize());
      expect(parsed).toMatchObject({
        version: 2,
        precision: 0,
        fingerprint,
        tokens: BigInt(tokens.length + generated.tokens.length),
        seed: 12345678901n,
        draws: 4n,
        vocabulary: smallShape.vocabulary,
        layers,
        parts: [
          { name: 'att_x', count: D, group: D },
          { name: 'ffn_x', count: D, group: D },
          { name: 'wkv', count: D * N, group: N * N },
        ],
      });
    });
  });

  test('holds in f32 exactly the numbers and the logits of the session', async () => {
    await withSession(async (session) => {
      const parsed = parseState(session.state.serialize());
      expect(Float32Array.from(flat(parsed.groups))).toEqual(session.state.values());
      expect(parsed.logits).toEqual(await session.evaluate([]));
    });
  });

  test('holds in f16 scales that are powers of two, one a head, and numbers within the bounds of the page', async () => {
    await withSession(async (session) => {
      const exact = parseState(session.state.serialize()).groups;
      const { precision, scales, groups, logits } = parseState(session.state.serialize({ precision: 'f16' }));
      expect(precision).toBe(1);
      expect(scales).toHaveLength(smallShape.layers * (2 + smallShape.embedding / smallShape.headSize));
      scales.forEach((scale, g) => {
        const largest = Math.max(...groups[g]!.map(Math.abs));
        expect(Number.isInteger(Math.log2(scale))).toBe(true);
        expect(largest / scale).toBeGreaterThanOrEqual(2 ** 14);
        expect(largest / scale).toBeLessThan(2 ** 15);
        const outside = exact[g]!.filter((value, i) => {
          const bound = Math.max(Math.abs(value) * 2 ** -11, largest * 2 ** -39);
          return Math.abs(groups[g]![i]! - value) > bound;
        });
        expect([...outside]).toEqual([]);
      });
      expect(logits).toEqual(await session.evaluate([]));
    });
  });

  test('is read back from f16 as exactly half times scale', async () => {
    await withSession((session) => {
      const bytes = session.state.serialize({ precision: 'f16' });
      const { groups } = parseState(bytes);
      expect(State.deserialize(bytes).values()).toEqual(Float32Array.from(flat(groups)));
    });
  });

  test('holds what the sampler counts: each token of generations with penalties of the session', async () => {
    await withSession(async (session) => {
      const options = { maxTokens: 6, stopTokens: [], seed: 7, penaltyDecay: 0.5, penaltyExempt: [] };
      await session.complete([], options);
      expect(parseState(session.state.serialize()).counts).toEqual([]);
      const { tokens: drawn } = await session.complete([], { ...options, penalties: 'session' });
      const expected = new Map<number, number>();
      for (const token of drawn) {
        for (const [id, count] of expected) expected.set(id, count / 2);
        expected.set(token, (expected.get(token) ?? 0) + 1);
      }
      const counts = [...expected].map(([token, count]) => ({ token, count }));
      const { counts: found } = parseState(session.state.serialize());
      expect(found).toEqual(counts.sort((a, b) => a.token - b.token));
      const again = State.deserialize(session.state.serialize());
      expect(parseState(again.serialize()).counts).toEqual(found);
    });
  });

  test('of a session that has seen nothing has zeros and no logits', async () => {
    await withSession(({ model }) => {
      const fresh = model.createSession();
      const bytes = fresh.state.serialize();
      const parsed = parseState(bytes);
      expect(parsed).toMatchObject({ tokens: 0n, draws: 0n, logits: undefined });
      expect(flat(parsed.groups).every((value) => value === 0)).toBe(true);
      const { layers, embedding: D, headSize: N } = smallShape;
      expect(bytes).toHaveLength(88 + 24 * 3 + 4 + 8 + 4 * layers * (2 * D + D * N));
      const f16 = parseState(fresh.state.serialize({ precision: 'f16' }));
      expect(new Set(f16.scales)).toEqual(new Set([1]));
    });
  });
});

describe('bytes changed by the page, with a checksum that fits', () => {
  const sealed = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array => {
    const copy = Uint8Array.from(bytes);
    const view = new DataView(copy.buffer);
    change(view);
    view.setBigUint64(copy.length - 8, xxh64(copy.subarray(0, -8)), true);
    return copy;
  };

  test('are read: the seed and the number of the next draw are where the page says', async () => {
    await withSession(async (session) => {
      const changed = sealed(session.state.serialize(), (view) => {
        view.setBigUint64(56, 99n, true);
        view.setBigUint64(64, 0n, true);
      });
      const resumed = session.model.createSession({ state: State.deserialize(changed) });
      const options = { maxTokens: 8, stopTokens: [] };
      const { tokens: drawn, seed } = await resumed.complete([], options);
      expect(seed).toBe(99n);
      expect(drawn).toEqual((await session.complete([], { ...options, seed: 99 })).tokens);
    });
  });

  test('are refused with another version: the error has both', async () => {
    await withSession((session) => {
      const bytes = sealed(session.state.serialize(), (view) => view.setUint32(8, 3, true));
      expectFailure(
        thrown(() => State.deserialize(bytes)),
        { code: 'ERR_WKV_STATE', expected: /version 2$/, found: /version 3$/ },
      );
    });
  });

  test.each<[string, (view: DataView) => void]>([
    ['an unknown precision', (view) => view.setUint32(12, 2, true)],
    ['no layers', (view) => view.setUint32(80, 0, true)],
    ['nine parts', (view) => view.setUint32(84, 9, true)],
    ['a part of another name', (view) => view.setUint8(88, 0x62)],
    ['a count that is no multiple of its group', (view) => view.setUint32(88 + 20, 63, true)],
    ['another length than the layout', (view) => view.setUint32(72, 255, true)],
    ['more counts than ids', (view) => view.setUint32(88 + 72, 257, true)],
    ['counts that reach into the numbers', (view) => view.setUint32(88 + 72, 1, true)],
    ['a NaN', (view) => view.setFloat32(88 + 72 + 4, NaN, true)],
    ['an infinite logit', (view) => view.setFloat32(view.byteLength - 12, Infinity, true)],
  ])('are refused with %s', async (_what, change) => {
    await withSession((session) => {
      const bytes = sealed(session.state.serialize(), change);
      expectFailure(
        thrown(() => State.deserialize(bytes)),
        { code: 'ERR_WKV_STATE' },
      );
    });
  });
});
