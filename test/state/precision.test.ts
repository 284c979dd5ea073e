import { join } from 'node:path';
import { Session, State, Tokenizer, loadModel, type GenerateOptions, type Model } from '../../lib/index';
import type { Evaluation, NativeSession } from '../../lib/native';
import { sameBits } from '../support/compare';
import { expectFailure, rejection } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { unless, withoutMemory } from '../support/unless';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const { vocabulary, layers, embedding, headSize } = smallShape;
const heads = embedding / headSize;
const drawing: GenerateOptions = { maxTokens: 40, temperature: 1.2, topP: 1, seed: 5, stopTokens: [] };
const tokens = randomTokens(100, vocabulary, 1);

let path: string;
/** Keeps sessions in f16 between calls. */
let half: Model;
let full: Model;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
  half = await loadModel(path, { tokenizer: Tokenizer.bytes(), statePrecision: 'f16' });
  full = await loadModel(path, { tokenizer: Tokenizer.bytes() });
});
afterAll(() => Promise.all([half.dispose(), full.dispose()]));

/** The state as f16 bytes give it back. */
function rounded(state: State): State {
  return State.deserialize(state.serialize({ precision: 'f16' }));
}

/** A session of the model without the option, from where the packed session is. */
function fullFrom(session: Session): Session {
  return full.createSession({ state: State.deserialize(session.state.serialize()) });
}

describe("With statePrecision: 'f16'", () => {
  test('a session takes half the memory, and a scale for each token shift and each head', () => {
    expect(full.info.stateBytes).toBe(layers * (2 * embedding + heads * headSize * headSize) * 4);
    expect(half.info.stateBytes).toBe(full.info.stateBytes / 2 + layers * (2 + heads) * 4);
    expect(half.createSession().state.serialize({ precision: 'f16' }).length).toBeLessThan(
      0.6 * full.createSession().state.serialize().length,
    );
  });

  test.each([
    ['evaluate', (session: Session) => session.evaluate(tokens)],
    ['evaluate of one token', (session: Session) => session.evaluate([7])],
    [
      'evaluate with a signal',
      (session: Session) => session.evaluate([7], { signal: new AbortController().signal }),
    ],
    ["evaluate with 'all' logits", (session: Session) => session.evaluate(tokens, { logits: 'all' })],
    ['evaluate without logits', (session: Session) => session.evaluate(tokens, { logits: 'none' })],
    ['score', (session: Session) => session.score(tokens)],
    ['complete', (session: Session) => session.complete('Once', drawing)],
    ['complete of no tokens', (session: Session) => session.complete('Once', { ...drawing, maxTokens: 0 })],
  ])('%s computes in f32, and at its end the state is rounded once', async (_name, call) => {
    const [packed, exact] = [half.createSession(), full.createSession()];
    const [found, expected] = [await call(packed), await call(exact)];
    expect(found).toEqual(expected);
    expect(sameBits(packed.state.values(), rounded(exact.state).values())).toBe(true);
    expect(sameBits(await packed.evaluate([]), await exact.evaluate([]))).toBe(true);
  });

  test('each call goes on from the rounded state', async () => {
    const packed = half.createSession();
    let exact = full.createSession();
    for (let i = 0; i < 5; i++) {
      const piece = tokens.subarray(i * 20, i * 20 + 20);
      expect(sameBits(await packed.evaluate(piece), await exact.evaluate(piece))).toBe(true);
      exact = full.createSession({ state: rounded(exact.state) });
      expect(sameBits(packed.state.values(), exact.state.values())).toBe(true);
    }
  });

  test('a generation is one call: its tokens are those of f32, from the same state', async () => {
    const packed = half.createSession();
    await packed.evaluate(tokens);
    const exact = fullFrom(packed);
    const found: number[] = [];
    for await (const part of packed.generate('Once', drawing)) found.push(...part.tokens);
    const expected = await exact.complete('Once', drawing);
    expect(found).toEqual(expected.tokens);
    expect(found).toHaveLength(40);
    expect(sameBits(packed.state.values(), rounded(exact.state).values())).toBe(true);
  });

  test('a loop that is left early leaves a packed state after what it delivered', async () => {
    const packed = half.createSession();
    const found: number[] = [];
    for await (const part of packed.generate('Once', drawing)) {
      found.push(...part.tokens);
      if (found.length >= 10) break;
    }
    const exact = full.createSession();
    await exact.evaluate([...Buffer.from('Once'), ...found]);
    expect(sameBits(packed.state.values(), rounded(exact.state).values())).toBe(true);
  });

  test('a call that fails or is aborted leaves the session as it was', async () => {
    const packed = half.createSession();
    await packed.complete(tokens, drawing);
    const before = packed.state.serialize();
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [
      rejection(() => packed.evaluate(new Uint32Array(50_000), { signal })),
      rejection(() => packed.complete(new Uint32Array(50_000), { ...drawing, signal })),
      rejection(() => packed.evaluate([vocabulary])),
      rejection(() =>
        packed.complete([1], { bannedTokens: Uint32Array.from({ length: vocabulary }, (_, id) => id) }),
      ),
    ];
    controller.abort();
    await Promise.all(calls);
    expect(sameBits(packed.state.serialize(), before)).toBe(true);
  });

  test.each([
    ['evaluate', (session: Session) => session.evaluate([7])],
    ['score', (session: Session) => session.score([7])],
  ])(
    '%s of one token keeps the state before it, as rounding the one after it may fail',
    async (_name, call) => {
      const asked: Evaluation[] = [];
      const native: Partial<NativeSession> = {
        evaluate: (evaluation) => {
          asked.push(evaluation);
          return Promise.resolve({ cancelled: false });
        },
      };
      await call(Session.of(half, native as NativeSession));
      expect(asked).toMatchObject([{ pack: true, abandonable: true }]);
    },
  );

  test('forks and snapshots are those of the rounded state, and live on', async () => {
    const parent = half.createSession();
    await parent.evaluate(tokens);
    const { state } = parent;
    const values = state.values();
    const branches = [parent.fork(), parent.fork({ seed: 3 }), half.createSession({ state })];
    const expected = await fullFrom(parent).evaluate('and on');
    await parent.evaluate('elsewhere');
    parent.dispose();
    for (const branch of branches) {
      expect(sameBits(branch.state.values(), values)).toBe(true);
      expect(sameBits(await branch.evaluate('and on'), expected)).toBe(true);
    }
    expect(sameBits(state.values(), values)).toBe(true);
  });

  test('states are saved to the same bytes as those of f32 sessions, and rounding them again changes nothing', async () => {
    const [packed, exact] = [half.createSession({}), full.createSession()];
    await Promise.all([
      packed.complete('Once', { ...drawing, penalties: 'session' }),
      exact.complete('Once', { ...drawing, penalties: 'session' }),
    ]);
    const bytes = packed.state.serialize({ precision: 'f16' });
    expect(sameBits(bytes, exact.state.serialize({ precision: 'f16' }))).toBe(true);
    expect(sameBits(await packed.state.serializeAsync({ precision: 'f16' }), bytes)).toBe(true);
    const again = half.createSession({ state: State.deserialize(bytes) });
    expect(sameBits(again.state.serialize({ precision: 'f16' }), bytes)).toBe(true);
    expect(sameBits(rounded(packed.state).values(), packed.state.values())).toBe(true);
  });

  test('states go to and from models that keep f32', async () => {
    const [packed, exact] = [half.createSession(), full.createSession()];
    await Promise.all([packed.evaluate(tokens), exact.evaluate(tokens)]);
    const toFull = full.createSession({ state: packed.state });
    expect(sameBits(await toFull.evaluate([]), await packed.evaluate([]))).toBe(true);
    expect(sameBits(toFull.state.values(), packed.state.values())).toBe(true);
    await toFull.evaluate('x');
    // The f32 model rounds nothing.
    expect(sameBits(toFull.state.values(), rounded(toFull.state).values())).toBe(false);
    const toHalf = half.createSession({ state: exact.state });
    expect(sameBits(toHalf.state.values(), rounded(exact.state).values())).toBe(true);
  });

  test('sessions that run together give what each gives alone', async () => {
    const run = (session: Session, i: number): Promise<unknown> =>
      session.complete(tokens.subarray(0, 1 + i), { ...drawing, seed: i, maxTokens: 10 });
    const alone: unknown[] = [];
    for (let i = 0; i < 20; i++) alone.push(await run(half.createSession(), i));
    const together = await Promise.all(alone.map((_, i) => run(half.createSession(), i)));
    expect(together).toEqual(alone);
  });

  test('a disposed session is as disposed as any', async () => {
    const session = half.createSession();
    const call = rejection(() => session.evaluate(new Uint32Array(50_000)));
    session.dispose();
    expectFailure(await call, { code: 'ERR_WKV_DISPOSED' });
  });

  unless(withoutMemory)(
    '2,000 packed sessions take about half the memory of those that keep f32',
    async () => {
      // Under AddressSanitizer freed memory is kept for a while, to catch its use; here only little of it.
      const environment = { ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8' };
      const grown: number[] = [];
      for (const precision of ['f32', 'f16']) {
        const { code, stdout, stderr } = await runChild(
          join(__dirname, 'child-packed.ts'),
          [precision, '2000'],
          {
            environment,
          },
        );
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        grown.push(Number(stdout));
      }
      const [f32 = NaN, f16 = NaN] = grown;
      // Each has logits and JavaScript objects beside its state.
      expect(f16 / f32).toBeGreaterThan(0.35);
      expect(f16 / f32).toBeLessThan(0.6);
    },
  );
});
