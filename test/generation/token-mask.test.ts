import { getEventListeners } from 'node:events';
import {
  Tokenizer,
  loadModel,
  Sampler,
  type GenerateOptions,
  type Model,
  type TokenMask,
  type TokenMaskFunction,
} from '../../lib/index';
import {
  callUnchecked,
  expectFailure,
  invalidArgument,
  outOfRange,
  rejection,
  thrown,
} from '../support/failure';
import { Pieces } from '../support/pieces';
import { indexOfLargest, smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const { vocabulary } = smallShape;
const flat: GenerateOptions = { temperature: 5, topP: 1, stopTokens: [], maxTokens: 40, seed: 3 };

let model: Model;
let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
  model = await loadModel(path, { tokenizer: Tokenizer.bytes() });
});
afterAll(() => model.dispose());

const range = (begin: number, end: number): number[] =>
  Array.from({ length: end - begin }, (_, i) => begin + i);
const digits = range(48, 58);
const all = range(0, vocabulary);

function maskOf(tokens: Iterable<number>): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabulary / 32));
  for (const token of tokens) mask[token >> 5] = (mask[token >> 5] ?? 0) | (1 << (token & 31));
  return mask;
}

/** Keeps to `{"n":` 1 to 3 digits `}`, and then the end of text. */
function grammar(endOfText: number): TokenMaskFunction {
  const head = '{"n":';
  let text = '';
  return (drawn) => {
    if (drawn !== undefined) text += String.fromCharCode(drawn);
    const next = head[text.length];
    if (next !== undefined) return maskOf([next.charCodeAt(0)]);
    if (text.endsWith('}')) return maskOf([endOfText]);
    const count = text.length - head.length;
    return maskOf([...(count < 3 ? digits : []), ...(count > 0 ? ['}'.charCodeAt(0)] : [])]);
  };
}

describe('tokenMask', () => {
  test('keeps a generation to a grammar', async () => {
    const { endOfText } = Tokenizer.bytes();
    for (const seed of range(0, 8)) {
      const tokenMask = grammar(endOfText);
      const options = { temperature: 5, topP: 1, seed, tokenMask };
      const { text, finishReason } = await model.createSession().complete('ab', options);
      expect(text).toMatch(/^\{"n":\d{1,3}\}$/);
      expect(finishReason).toBe('endOfText');
    }
  });

  test('draws of the tokens allowed as if all others were banned', async () => {
    const allowed = all.filter((token) => token % 3 === 1);
    const others = all.filter((token) => token % 3 !== 1);
    for (const options of [flat, { ...flat, temperature: 0 }, { ...flat, topP: 0.5, logprobs: 2 }]) {
      const masked = { ...options, tokenMask: () => maskOf(allowed) };
      const expected = await model.createSession().complete('ab', { ...options, bannedTokens: others });
      expect(await model.createSession().complete('ab', masked)).toEqual(expected);
      expect(expected.tokens).toHaveLength(40);
    }
    const session = model.createSession();
    let logits = await session.evaluate('ab');
    const greedy = { ...flat, temperature: 0, presencePenalty: 0, frequencyPenalty: 0 };
    const { tokens } = await model
      .createSession()
      .complete('ab', { ...greedy, tokenMask: () => maskOf(allowed) });
    for (const token of tokens) {
      for (const other of others) logits[other] = -1e9;
      expect(token).toBe(indexOfLargest(logits));
      logits = await session.evaluate([token]);
    }
  });

  test('is asked before each draw, for what has been delivered, and for nothing that is not drawn', async () => {
    const asked: (number | undefined)[] = [];
    const tokenMask = (drawn: number | undefined): undefined => {
      asked.push(drawn);
    };
    const session = model.createSession();
    await session.complete('ab', { ...flat, maxTokens: 0, tokenMask });
    expect(asked).toEqual([]);
    // Tokens that are whole characters, which are delivered at once.
    const characters = { ...flat, bannedTokens: range(128, vocabulary) };
    const iterator = session.generate('ab', { ...characters, maxTokens: 3, tokenMask });
    expect(asked).toEqual([]);
    const tokens: number[] = [];
    for await (const part of iterator) {
      tokens.push(...part.tokens);
      if (part.finishReason === undefined) expect(asked).toEqual([undefined, ...tokens.slice(0, -1)]);
    }
    expect(tokens).toHaveLength(3);
    expect(asked).toEqual([undefined, ...tokens.slice(0, -1)]);

    asked.length = 0;
    const [first = 0, second = 0] = tokens;
    const stopped = { ...characters, stopTokens: [second], tokenMask };
    expect((await model.createSession().complete('abab', stopped)).finishReason).toBe('stop');
    expect(asked).toEqual([undefined, first]);
  });

  test('may return promises, arrays of either type, one array again and again, or nothing', async () => {
    const expected = await model.createSession().complete('ab', { ...flat, bannedTokens: [0, 1, 200] });
    const allowed = maskOf(all.filter((token) => ![0, 1, 200].includes(token)));
    const reused = new Int32Array(allowed.length);
    const ways: TokenMaskFunction[] = [
      () => allowed,
      () => new Int32Array(allowed),
      () => Promise.resolve(allowed),
      async () => {
        await new Promise(setImmediate);
        return new Int32Array(allowed);
      },
      () => {
        reused.set(allowed);
        setImmediate(() => reused.fill(0));
        return reused;
      },
      () => {
        const shared = new Uint32Array(new SharedArrayBuffer(allowed.byteLength));
        shared.set(allowed);
        return shared;
      },
    ];
    for (const tokenMask of ways) {
      expect(await model.createSession().complete('ab', { ...flat, tokenMask })).toEqual(expected);
    }
    const free = await model.createSession().complete('ab', flat);
    for (const tokenMask of [() => undefined, () => maskOf(all), () => Promise.resolve(undefined)]) {
      expect(await model.createSession().complete('ab', { ...flat, tokenMask })).toEqual(free);
    }
  });

  test('lets nothing in that is banned, or that the tokenizer has no bytes for', async () => {
    const few = await loadModel(path, { tokenizer: new Pieces(['a', 'b', 'c', 'd']) });
    const tokenMask = (): TokenMask => maskOf(all);
    const { tokens } = await few.createSession().complete('ab', { ...flat, bannedTokens: [1, 3], tokenMask });
    expect([...new Set(tokens)].sort()).toEqual([0, 2, 4]);
    await few.dispose();
  });

  test('fits what a Sampler draws beside it', async () => {
    const session = model.createSession();
    const allowed = maskOf(digits);
    const penalties = { presencePenalty: 0, frequencyPenalty: 0 };
    const { tokens } = await session.complete('ab', {
      ...{ temperature: 2, topP: 0.9, seed: 7, ...penalties, maxTokens: 20 },
      tokenMask: () => allowed,
    });
    const bannedTokens = all.filter((token) => !digits.includes(token));
    const sampler = new Sampler({ temperature: 2, topP: 0.9, seed: 7, ...penalties, bannedTokens });
    const beside = model.createSession();
    let logits = await beside.evaluate('ab');
    for (const token of tokens) {
      expect(token).toBe(sampler.sample(logits));
      logits = await beside.evaluate([token]);
    }
  });

  test('holds in chats', async () => {
    const chat = model.createChat();
    const options = { temperature: 5, topP: 1, seed: 1 };
    const tokenMask = (): TokenMaskFunction => grammar(Tokenizer.bytes().endOfText);
    const { text } = await chat.complete('hi', { ...options, tokenMask: tokenMask() });
    expect(text).toMatch(/^\{"n":\d{1,3}\}$/);
    let again = '';
    for await (const part of chat.regenerate({ ...options, seed: 2, tokenMask: tokenMask() }))
      again += part.text;
    expect(again).toMatch(/^\{"n":\d{1,3}\}$/);
    expect(chat.messages.at(-1)?.content).toBe(again);
  });
});

describe('a tokenMask that fails', () => {
  const wrong = new Error('no mask');
  const failures: [string, () => unknown, (error: unknown) => void][] = [
    [
      'by throwing',
      () => {
        throw wrong;
      },
      (error) => {
        expect(error).toBe(wrong);
      },
    ],
    [
      'by rejecting',
      () => Promise.reject(wrong),
      (error) => {
        expect(error).toBe(wrong);
      },
    ],
    ...[null, true, [1], 'all', new Float32Array(8), new Proxy(maskOf(all), {})].map(
      (result): [string, () => unknown, (error: unknown) => void] => [
        `with ${Object.prototype.toString.call(result)}`,
        () => result,
        (error) => {
          expectFailure(error, invalidArgument(/what options\.tokenMask returned: expected a Uint32Array/));
        },
      ],
    ),
    ...[0, 1, 7, 9, 2048].map((length): [string, () => unknown, (error: unknown) => void] => [
      `with ${length} elements`,
      () => new Uint32Array(length),
      (error) => {
        expectFailure(error, outOfRange(new RegExp(`expected 8 \\(${vocabulary} tokens.*found ${length}$`)));
      },
    ]),
    [
      'with nothing that may be drawn',
      () => maskOf([]),
      (error) => {
        expectFailure(error, { code: 'ERR_WKV_STATE', message: /nothing to sample from: no token is left/ });
      },
    ],
  ];

  test.each(failures)('%s leaves the session as it was, or at what was delivered', async (_, mask, check) => {
    const untouched = model.createSession();
    await untouched.evaluate('ab');
    const before = untouched.state.values();
    const session = model.createSession({ state: untouched.state });
    const tokenMask = mask as TokenMaskFunction;
    check(await rejection(() => session.complete('cd', { ...flat, tokenMask })));
    expect(session.state.values()).toEqual(before);
    check(await rejection(() => session.generate('cd', { ...flat, tokenMask }).next()));
    expect(session.state.values()).toEqual(before);

    let calls = 0;
    const third: TokenMaskFunction = () => ((calls += 1) < 4 ? maskOf(digits) : tokenMask(undefined));
    const tokens: number[] = [];
    const iterate = async (): Promise<void> => {
      for await (const part of session.generate('cd', { ...flat, tokenMask: third }))
        tokens.push(...part.tokens);
    };
    check(await rejection(iterate));
    expect(tokens).toHaveLength(3);
    await untouched.evaluate('cd');
    const last = await untouched.evaluate(tokens);
    expect(session.state.values()).toEqual(untouched.state.values());
    expect(await session.evaluate([])).toEqual(last);
  });

  test('is no option', () => {
    for (const tokenMask of [null, true, maskOf(all), {}]) {
      const failure = invalidArgument(/options\.tokenMask: expected a function/);
      const session = model.createSession();
      expectFailure(
        thrown(() => callUnchecked(session, 'generate', ['ab', { tokenMask }])),
        failure,
      );
    }
  });
});

describe('while a mask is waited for', () => {
  const never = new Promise<undefined>(() => undefined);

  test('an abort ends the generation', async () => {
    for (const delivered of [0, 2]) {
      const session = model.createSession();
      const controller = new AbortController();
      let calls = 0;
      const tokenMask = (): Promise<TokenMask | undefined> => {
        if ((calls += 1) <= delivered) return Promise.resolve(maskOf(digits));
        setImmediate(() => {
          controller.abort(new Error('enough'));
        });
        return never;
      };
      const tokens: number[] = [];
      const iterate = async (): Promise<void> => {
        const options = { ...flat, signal: controller.signal, tokenMask };
        for await (const part of session.generate('ab', options)) tokens.push(...part.tokens);
      };
      expect(await rejection(iterate)).toBe(controller.signal.reason);
      expect(tokens).toHaveLength(delivered);
      expect(session.state.tokens).toBe(delivered === 0 ? 0 : 2 + delivered);
      session.dispose();
    }
  });

  test('so does one by the function itself, whatever it returns', async () => {
    const controller = new AbortController();
    const tokenMask = (): Promise<undefined> => {
      controller.abort(new Error('enough'));
      return Promise.reject(new Error('too late'));
    };
    const session = model.createSession();
    const { signal } = controller;
    expect(await rejection(() => session.complete('ab', { signal, tokenMask }))).toBe(signal.reason);
    expect(session.state.tokens).toBe(0);
  });

  test('no listener is left on the signal', async () => {
    const { signal } = new AbortController();
    const session = model.createSession();
    await session.complete('ab', { ...flat, signal, tokenMask: () => Promise.resolve(maskOf(digits)) });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('where the function disposes the session, it is disposed', async () => {
    for (const delivered of [0, 2]) {
      const session = model.createSession();
      let calls = 0;
      const tokenMask = (): Promise<undefined> | undefined => {
        if ((calls += 1) <= delivered) return undefined;
        session.dispose();
        return never;
      };
      const complete = (): unknown => session.complete('ab', { ...flat, tokenMask });
      expectFailure(await rejection(complete), { code: 'ERR_WKV_DISPOSED' });
    }
  });

  test.each(['the session', 'the model'])(
    '%s may be disposed, and all that waits for it ends',
    async (what) => {
      const other = await loadModel(path, { tokenizer: Tokenizer.bytes() });
      for (const iterated of [false, true]) {
        const session = other.createSession();
        const options = { ...flat, tokenMask: () => never };
        const waiting: Promise<unknown>[] = [
          iterated ? session.generate('ab', options).next() : session.complete('ab', options),
        ];
        if (!iterated) waiting.push(session.evaluate('c'), session.fork().evaluate('c'));
        const errors = Promise.all(waiting.map((call) => rejection(() => call)));
        await new Promise(setImmediate);
        if (what === 'the session' || !iterated) session.dispose();
        else await other.dispose();
        for (const error of await errors) expectFailure(error, { code: 'ERR_WKV_DISPOSED' });
      }
      await other.dispose();
    },
  );

  test('the loop may be left, and the session goes on', async () => {
    for (const delivered of [0, 2]) {
      const session = model.createSession();
      let calls = 0;
      const tokenMask = (): Promise<TokenMask | undefined> =>
        (calls += 1) <= delivered ? Promise.resolve(maskOf(digits)) : never;
      const parts = session.generate('ab', { ...flat, tokenMask });
      for (let i = 0; i < delivered; i++) expect((await parts.next()).done).toBe(false);
      const next = parts.next();
      const end = parts.return();
      const evaluated = session.evaluate('c', { logits: 'none' });
      expect(await next).toEqual({ done: true, value: undefined });
      expect((await end).done).toBe(true);
      await evaluated;
      expect(session.state.tokens).toBe(delivered === 0 ? 1 : 2 + delivered + 1);

      const chat = model.createChat();
      calls = 0;
      const reply = chat.send('hi', { ...flat, tokenMask });
      for (let i = 0; i < delivered; i++) await reply.next();
      void reply.next();
      await reply.return();
      expect(chat.messages).toHaveLength(delivered === 0 ? 0 : 2);
      await chat.complete('hi', { ...flat, maxTokens: 2 });
    }
  });
});

test('A chat keeps no state more where a mask ended a reply', async () => {
  const bytesOf = async (end: TokenMaskFunction): Promise<number> => {
    const chat = model.createChat();
    await chat.complete('hi', { ...flat, maxTokens: 3, tokenMask: end }).catch(() => undefined);
    await chat.complete('you', { ...flat, maxTokens: 3 });
    return chat.serialize().length;
  };
  let calls = 0;
  const failing: TokenMaskFunction = () => {
    if ((calls += 1) === 3) throw new Error('no mask');
    return maskOf(digits);
  };
  const { stateBytes } = model.info;
  expect(await bytesOf(failing)).toBeLessThan((await bytesOf(() => maskOf(digits))) + stateBytes / 2);
});

test('A mask has an element for the last tokens, too, where their number is no multiple of 32', async () => {
  const path = await writeRandomModel(folder, 'odd', { ...smallShape, vocabulary: 300 });
  await withModel(path, {}, async (odd) => {
    const drawn = async (length: number): Promise<number[]> => {
      const mask = new Uint32Array(length);
      mask[9] = 1 << 11;
      const options = { ...flat, maxTokens: 3, tokenMask: () => mask };
      return (await odd.createSession().complete([1], options)).tokens;
    };
    expect(await drawn(10)).toEqual([299, 299, 299]);
    for (const wrong of [9, 11]) {
      expectFailure(await rejection(() => drawn(wrong)), outOfRange(new RegExp(`found ${wrong}$`)));
    }
  });
});
