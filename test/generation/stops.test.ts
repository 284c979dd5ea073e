import type { GenerateOptions, GeneratedPart, Session, TokenizerLike } from '../../lib/index';
import { StopStrings } from '../../lib/generation/stop-strings';
import { sameBits } from '../support/compare';
import { callUnchecked, expectFailure, invalidArgument, outOfRange, thrown } from '../support/failure';
import { trickyPieces } from '../support/pieces';
import { randomNumbers } from '../support/random-model';
import { useRandomModel, withModel } from '../support/model';

const prompt = 'ab\n';
// Flat enough that every piece comes up.
const options: GenerateOptions = {
  temperature: 8,
  topP: 1,
  stopTokens: [],
  bannedTokens: [0],
  maxTokens: 60,
};
const stopSets: string[][] = [
  ['User:'],
  ['\n\nUser:'],
  ['aa', 'bab'],
  ['abab'],
  ['\n\n'],
  ['中'],
  ['😀', 'é'],
  ['a', 'aabba', 'User:'],
  ['s', 'User'],
  ['abaabaababa', 'bbb'],
  ['never to be found'],
];

const { model, path } = useRandomModel(trickyPieces);

/** What is drawn with these options when nothing stops it. */
async function unstopped(seed: number, more: GenerateOptions = {}): Promise<number[]> {
  const { tokens } = await model()
    .createSession()
    .complete(prompt, { ...options, ...more, seed });
  expect(tokens).toHaveLength(options.maxTokens ?? 0);
  return tokens;
}

/** Where the first stop string to be complete begins, the longest of those that end there; or undefined. */
function firstStop(bytes: Buffer, stops: readonly string[]): number | undefined {
  for (let end = 1; end <= bytes.length; end++) {
    const found = stops
      .map((stop) => Buffer.from(stop))
      .filter((stop) => bytes.subarray(0, end).indexOf(stop) >= 0);
    if (found.length > 0) return end - Math.max(...found.map(({ length }) => length));
  }
  return undefined;
}

/** The tokens whose bytes lie wholly in the first `length` bytes, and the encoding of the bytes after them. */
function tokensOf(tokens: readonly number[], length: number): number[] {
  const whole: number[] = [];
  let size = 0;
  for (const token of tokens) {
    const next = size + trickyPieces.decodeBytes([token]).length;
    if (next > length) break;
    whole.push(token);
    size = next;
  }
  const all = Buffer.from(trickyPieces.decodeBytes(tokens));
  return [...whole, ...trickyPieces.encode(all.subarray(size, length))];
}

/** The session is exactly where one is that evaluated the prompt and these tokens, its random numbers included. */
async function expectStateAfter(session: Session, tokens: readonly number[], seed: number): Promise<void> {
  const fresh = model().createSession();
  const expected = await fresh.evaluate([...trickyPieces.encode(prompt), ...tokens]);
  expect(sameBits(session.state.values(), fresh.state.values())).toBe(true);
  expect(sameBits(await session.evaluate([]), expected)).toBe(true);
  const bytes = session.state.serialize();
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  // docs/state-format.md: tokens, seed, number of the next draw
  const found = [48, 56, 64].map((offset) => view.getBigUint64(offset, true));
  expect(found).toEqual([
    BigInt(trickyPieces.encode(prompt).length + tokens.length),
    BigInt(seed),
    BigInt(tokens.length),
  ]);
}

const lossy = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

describe('stop strings', () => {
  test.each(stopSets.map((stops) => [stops]))(
    '%j end the text before the first of them, whatever the tokens, and leave no trace in the state',
    async (stops) => {
      let stopped = 0;
      let inside = 0;
      for (let seed = 0; seed < 25; seed++) {
        const tokens = await unstopped(seed);
        const bytes = Buffer.from(trickyPieces.decodeBytes(tokens));
        const end = firstStop(bytes, stops);
        const session = model().createSession();
        const {
          text,
          finishReason,
          tokens: taken,
        } = await session.complete(prompt, { ...options, seed, stop: stops });
        const expected = end === undefined ? tokens : tokensOf(tokens, end);
        expect({ seed, text, finishReason, taken }).toEqual({
          seed,
          text: lossy(bytes.subarray(0, end)),
          finishReason: end === undefined ? 'length' : 'stop',
          taken: expected,
        });
        await expectStateAfter(session, expected, seed);
        if (end !== undefined) stopped += 1;
        if (expected.some((token, i) => token !== tokens[i])) inside += 1;
      }
      if (stops[0]?.startsWith('never') !== true) expect(stopped).toBeGreaterThan(0);
      // All sets but these begin inside of tokens now and then.
      if (['aa', 'a', 's'].includes(stops[0] ?? '')) expect(inside).toBeGreaterThan(0);
    },
  );

  test('may be one string alone', async () => {
    const tokens = await unstopped(3);
    const bytes = Buffer.from(trickyPieces.decodeBytes(tokens));
    const { text } = await model()
      .createSession()
      .complete(prompt, { ...options, seed: 3, stop: 'b' });
    expect(text).toBe(lossy(bytes.subarray(0, firstStop(bytes, ['b']))));
  });

  test('are looked for in what is generated, not in the prompt', async () => {
    const session = model().createSession();
    const { text } = await session.complete('User', {
      ...options,
      seed: 1,
      stop: 'User:',
      logitBias: { 14: 1000 },
      maxTokens: 3,
    });
    expect(text).toBe(':::');
  });

  test('count for the session what was delivered, where its penalties are the session’s', async () => {
    for (let seed = 0; seed < 10; seed++) {
      const more: GenerateOptions = {
        penalties: 'session',
        presencePenalty: 3,
        frequencyPenalty: 1,
        penaltyExempt: [],
      };
      const tokens = await unstopped(seed, more);
      const end = firstStop(Buffer.from(trickyPieces.decodeBytes(tokens)), ['ab', '\n']) ?? NaN;
      const session = model().createSession();
      await session.complete(prompt, { ...options, ...more, seed, stop: ['ab', '\n'] });
      const expected = new Map<number, number>();
      for (const token of tokensOf(tokens, end)) {
        for (const [id, count] of expected) expected.set(id, count * 0.996);
        expected.set(token, (expected.get(token) ?? 0) + 1);
      }
      const bytes = session.state.serialize();
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const at = 88 + 24 * 3;
      const found = Array.from({ length: view.getUint32(at, true) }, (_, i) => [
        view.getUint32(at + 4 + 12 * i, true),
        view.getFloat64(at + 8 + 12 * i, true),
      ]);
      expect(found).toEqual([...expected].sort(([a], [b]) => a - b));
    }
  });

  test.each([
    [{ stop: '' }, outOfRange(/stop/)],
    [{ stop: ['x', ''] }, outOfRange(/stop\[1\]/)],
    [{ stop: 'x'.repeat(5000) }, outOfRange(/4096/)],
    [{ stop: 5 }, invalidArgument(/stop/)],
    [{ stop: ['x', 5] }, invalidArgument(/stop\[1\]/)],
  ])('are checked at the call: %j', (wrong, failure) => {
    expectFailure(
      thrown(() => callUnchecked(model().createSession(), 'generate', [prompt, wrong])),
      failure,
    );
  });
});

describe('a stop string inside a token of a tokenizer that has no tokens for a part of it', () => {
  /** Tokens of two letters, from aA to pP. */
  const pairs = (encodeHalf: () => Uint32Array): TokenizerLike => ({
    size: 256,
    endOfText: 0,
    encode(text) {
      const bytes = Buffer.from(text);
      if (bytes.length % 2 === 1) return encodeHalf();
      return Uint32Array.from(
        { length: bytes.length / 2 },
        (_, i) => 16 * (bytes[2 * i]! - 0x61) + (bytes[2 * i + 1]! - 0x41),
      );
    },
    decodeBytes: (tokens) =>
      Buffer.concat(Array.from(tokens, (id) => Buffer.of(0x61 + (id >> 4), 0x41 + (id & 15)))),
  });

  test.each<[string, () => Uint32Array]>([
    [
      'throws',
      () => {
        throw new Error('half a token');
      },
    ],
    ['gives ids that the model does not have', () => Uint32Array.of(256)],
  ])('ends the text there, after the last whole token, where encode %s', async (_how, encodeHalf) => {
    const tokenizer = pairs(encodeHalf);
    await withModel(path, { tokenizer }, async (ofPairs) => {
      const plain: GenerateOptions = { ...options, bannedTokens: [], seed: 1 };
      const { tokens } = await ofPairs.createSession().complete('aBcD', { ...plain, maxTokens: 20 });
      const unstopped = Buffer.from(tokenizer.decodeBytes(tokens)).toString();
      // Inside one token, and across tokens, which are evaluated before the last of them completes the string.
      for (const stop of [unstopped.slice(5, 6), unstopped.slice(5, 8), unstopped.slice(9, 18)]) {
        const end = unstopped.indexOf(stop);
        const whole = tokens.slice(0, (end - 1) / 2);
        const session = ofPairs.createSession();
        const found = await session.complete('aBcD', { ...plain, maxTokens: 20, stop });
        expect(found).toMatchObject({ text: unstopped.slice(0, end), tokens: whole, finishReason: 'stop' });
        const fresh = ofPairs.createSession();
        const expected = await fresh.evaluate([...tokenizer.encode('aBcD'), ...whole]);
        expect(sameBits(await session.evaluate([]), expected)).toBe(true);
        expect(session.state.tokens).toBe(2 + whole.length);
      }
    });
  });
});

describe('held-back text', () => {
  const held: GenerateOptions = { ...options, stop: ['User:', '\n\nUs', 'aba'] };

  test('comes out whole at the length limit, and half characters as U+FFFD', async () => {
    for (let maxTokens = 1; maxTokens <= 40; maxTokens++) {
      const { tokens } = await model()
        .createSession()
        .complete(prompt, { ...options, seed: 11, maxTokens });
      const bytes = Buffer.from(trickyPieces.decodeBytes(tokens));
      const session = model().createSession();
      const { text } = await session.complete(prompt, {
        ...options,
        seed: 11,
        maxTokens,
        stop: 'no such text',
      });
      expect(text).toBe(lossy(bytes));
      await expectStateAfter(session, tokens, 11);
    }
  });

  test.each(['break', 'throw', 'abort'])(
    'is dropped, and the state is that of the delivered text, when the loop ends with %s after any part',
    async (how) => {
      let insideOfTokens = 0;
      for (let seed = 0; seed < 12; seed++) {
        const tokens = await unstopped(seed);
        for (const most of [1, 2, 3, 5, 8, 13, 21]) {
          const session = model().createSession();
          const controller = new AbortController();
          const parts: GeneratedPart[] = [];
          const reason = new Error('enough');
          const loop = async (): Promise<void> => {
            for await (const part of session.generate(prompt, { ...held, seed, signal: controller.signal })) {
              parts.push(part);
              if (parts.length < most || part.finishReason !== undefined) continue;
              if (how === 'break') break;
              if (how === 'throw') throw reason;
              controller.abort(reason);
            }
          };
          const error = await loop().catch((caught: unknown) => caught);
          const last = parts.at(-1)!;
          if (last.finishReason === undefined) expect(error).toBe(how === 'break' ? undefined : reason);
          const text = parts.map((part) => part.text).join('');
          // Nothing of these tokens is U+FFFD unless it was delivered as such: then its bytes are counted below.
          const length = deliveredBytes(tokens, text);
          const expected = tokensOf(tokens, length);
          await expectStateAfter(session, expected, seed);
          expect(expected.slice(0, parts.flatMap((part) => part.tokens).length)).toEqual(
            parts.flatMap((part) => part.tokens),
          );
          if (expected.some((token, i) => token !== tokens[i])) insideOfTokens += 1;
        }
      }
      expect(insideOfTokens).toBeGreaterThan(0);
    },
  );

  /** How many of the tokens' bytes the text is the decoding of; the most, where several are. */
  function deliveredBytes(tokens: readonly number[], text: string): number {
    const bytes = Buffer.from(trickyPieces.decodeBytes(tokens));
    for (let length = bytes.length; length >= 0; length--) {
      if (lossy(bytes.subarray(0, length)) === text && !endsInHalfCharacter(bytes.subarray(0, length)))
        return length;
    }
    throw new Error(`not a beginning of the text: ${JSON.stringify(text)}`);
  }

  /** Whether the last bytes are a character that further bytes could complete: such are not delivered in a loop. */
  function endsInHalfCharacter(bytes: Buffer): boolean {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    return decoder.decode(bytes, { stream: true }) !== lossy(bytes);
  }

  test('never delays a part that cannot begin a stop string', async () => {
    const session = model().createSession();
    for await (const part of session.generate(prompt, { ...options, seed: 5, stop: 'zzz' })) {
      if (part.finishReason !== undefined) continue;
      expect(part.text).not.toBe('');
      expect(part.tokens.length).toBeGreaterThan(0);
    }
  });

  test('that goes on for thousands of tokens keeps few states, and comes back to the right one', async () => {
    // Every 'a' could be the first of the stop string; after 'aaa' it cannot be the one three before.
    const session = model().createSession();
    const stop = `${'a'.repeat(40)}b`;
    const forced: GenerateOptions = {
      ...options,
      seed: 2,
      temperature: 0,
      stop,
      logitBias: { 1: 1000 },
      maxTokens: 3000,
    };
    let text = '';
    for await (const part of session.generate(prompt, forced)) {
      text += part.text;
      if (text.length >= 2000) break;
    }
    const fresh = model().createSession();
    await fresh.evaluate([...trickyPieces.encode(prompt), ...new Array<number>(text.length).fill(1)]);
    expect(sameBits(session.state.values(), fresh.state.values())).toBe(true);
  });
});

describe('StopStrings', () => {
  test('finds what a plain search finds, and knows the longest beginning', () => {
    const random = randomNumbers(4);
    for (let round = 0; round < 400; round++) {
      const letter = (): number => 97 + Math.floor(random() * 2);
      const word = (length: number): Buffer => Buffer.from(Array.from({ length }, letter));
      const stops = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
        word(1 + Math.floor(random() * 12)),
      );
      const search = new StopStrings(stops);
      expect(search.longest).toBe(Math.max(...stops.map(({ length }) => length)));
      const text = word(40);
      for (let end = 1; end <= text.length; end++) {
        const seen = text.subarray(0, end);
        const endsWith = (part: Buffer): boolean =>
          part.length <= end && seen.subarray(end - part.length).equals(part);
        const found = search.push(text[end - 1] ?? 0);
        expect(found).toBe(Math.max(0, ...stops.filter(endsWith).map(({ length }) => length)));
        const begun = stops.flatMap((stop) =>
          Array.from(stop, (_, i) => stop.subarray(0, i)).filter(endsWith),
        );
        expect(search.begun).toBe(Math.max(...begun.map(({ length }) => length)));
      }
    }
  });

  test('goes on from the longest beginning that it still has where a string repeats itself', () => {
    const search = new StopStrings([Buffer.from('aabaaac')]);
    const found = Array.from(Buffer.from('aabaaabaaac'), (byte) => search.push(byte));
    expect(found).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
  });

  test('takes more strings than a call can have arguments', () => {
    const search = new StopStrings(Array.from({ length: 200_000 }, () => Buffer.from('ab')));
    expect(search.longest).toBe(2);
    expect(search.push(97)).toBe(0);
    expect(search.begun).toBe(1);
    expect(search.push(98)).toBe(2);
  });
});
