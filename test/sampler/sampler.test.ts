import { runInNewContext, runInThisContext } from 'node:vm';
import { Sampler, WkvError, type SamplerOptions } from '../../lib/index';
import { sameBits } from '../support/compare';
import {
  callUnchecked,
  expectFailure,
  invalidArgument,
  outOfRange,
  thrown,
  type Failure,
} from '../support/failure';
import { draw, logs, normalNumbers } from './support';

const logits = normalNumbers(500, 2, 1);
const stateError: Failure = { type: WkvError, code: 'ERR_WKV_STATE' };

/** Makes a sampler with options that its types forbid. */
const make = (options: unknown): Sampler => new Sampler(options as SamplerOptions);

describe('A sampler', () => {
  test('draws the same tokens with the same seed, and others with another', () => {
    const tokens = (seed: number | bigint): number[] => draw(new Sampler({ seed }), logits, 50);
    expect(tokens(5)).toEqual(tokens(5n));
    expect(tokens(5)).not.toEqual(tokens(6));
    expect(tokens(2n ** 64n - 1n)).toEqual(tokens(2n ** 64n - 1n));
  });

  test('draws a seed where none is given, which draws the same again', () => {
    const first = new Sampler();
    const second = new Sampler();
    expect(first.seed).not.toBe(second.seed);
    expect(first.seed < 2n ** 53n).toBe(true);
    expect(draw(new Sampler({ seed: first.seed }), logits, 50)).toEqual(draw(first, logits, 50));
  });

  test.each([0, 0n])('takes the seed %p as any other', (seed) => {
    expect(new Sampler({ seed }).seed).toBe(0n);
  });

  test('tells its seed and how many tokens it has drawn', () => {
    const sampler = new Sampler({ seed: 2n ** 64n - 1n });
    expect(sampler.draws).toBe(0);
    draw(sampler, logits, 3);
    expect(sampler.draws).toBe(3);
    expect(sampler.seed).toBe(2n ** 64n - 1n);
  });

  test('counts a draw at temperature 0 too', () => {
    const sampler = new Sampler({ temperature: 0 });
    draw(sampler, logits, 2);
    expect(sampler.draws).toBe(2);
  });

  test.each([
    ['an object', '({ 3: 1000 })'],
    ['an object without a prototype', 'Object.assign(Object.create(null), { 3: 1000 })'],
    ['a Map', 'new Map([[3, 1000]])'],
  ])('takes the bias of tokens from %s, of another realm too', (_what, made) => {
    for (const logitBias of [runInThisContext(made), runInNewContext(made)] as unknown[]) {
      expect(make({ logitBias }).sample(logits)).toBe(3);
    }
  });

  test('does not change the logits', () => {
    const copy = logits.slice();
    draw(new Sampler({ bannedTokens: [0], logitBias: { 1: 5 } }), copy, 5);
    expect(sameBits(copy, logits)).toBe(true);
  });

  test('takes part of an array, and shared memory', () => {
    const padded = new Float32Array(logits.length + 7).fill(NaN);
    padded.set(logits, 3);
    const shared = new Float32Array(new SharedArrayBuffer(logits.byteLength));
    shared.set(logits);
    const expected = draw(new Sampler({ seed: 1 }), logits, 20);
    expect(draw(new Sampler({ seed: 1 }), padded.subarray(3, 3 + logits.length), 20)).toEqual(expected);
    expect(draw(new Sampler({ seed: 1 }), shared, 20)).toEqual(expected);
  });

  test('may be given logits of another size each time', () => {
    const sampler = new Sampler({ seed: 1, temperature: 0 });
    expect(sampler.sample(logs(0.1, 0.2, 0.7))).toBe(2);
    expect(sampler.sample(logs(1))).toBe(0);
  });

  test('has nothing to do with ids that are not among the logits', () => {
    const sampler = make({ bannedTokens: [2 ** 32 - 1], logitBias: { 4294967295: 9 }, penaltyExempt: [7e8] });
    expect(sampler.sample(logs(1))).toBe(0);
  });

  test('takes typed arrays of ids, and a Map of biases', () => {
    const options = { temperature: 0, bannedTokens: Uint32Array.of(0), logitBias: new Map([[2, 1]]) };
    expect(new Sampler(options).sample(Float32Array.of(5, 1, 1))).toBe(2);
  });

  test('copies its options', () => {
    const bannedTokens = [0];
    const samplerOrder: NonNullable<SamplerOptions['samplerOrder']>[number][] = [
      'topK',
      'topP',
      'minP',
      'typicalP',
      'temperature',
    ];
    const sampler = new Sampler({ temperature: 0, bannedTokens, samplerOrder });
    bannedTokens[0] = 1;
    samplerOrder[0] = 'topP';
    expect(sampler.fork().sample(Float32Array.of(5, 1))).toBe(1);
  });
});

describe('What a sampler refuses', () => {
  test.each([undefined, null, [1, 2], new Float64Array(2), new ArrayBuffer(8), 'text', 3])(
    'logits that are no Float32Array: %p',
    (value) => {
      const error = thrown(() => callUnchecked(new Sampler(), 'sample', [value]));
      expectFailure(error, invalidArgument(/logits: expected a Float32Array/));
    },
  );

  test('no logits at all, and those of a buffer that was given away', () => {
    const gone = new Float32Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    for (const none of [new Float32Array(0), gone]) {
      expectFailure(
        thrown(() => new Sampler().sample(none)),
        outOfRange(/logits: expected 1 to/),
      );
    }
  });

  test('no logits at all, whatever their property length says', () => {
    const none = Object.defineProperty(new Float32Array(0), 'length', { value: 5 });
    expectFailure(
      thrown(() => new Sampler().sample(none)),
      outOfRange(/logits: expected 1 to .* found 0/),
    );
  });

  test.each([NaN, Infinity, -Infinity])('a logit of %p, and it changes nothing', (wrong) => {
    const sampler = new Sampler({ seed: 3 });
    draw(sampler, logits, 10);
    const twin = sampler.fork();
    const damaged = logits.slice();
    damaged[321] = wrong;
    expectFailure(
      thrown(() => sampler.sample(damaged)),
      { ...stateError, message: /logits\[321\]: expected a finite number/, found: new RegExp(String(wrong)) },
    );
    expect(sampler.draws).toBe(10);
    expect(draw(sampler, logits, 30)).toEqual(draw(twin, logits, 30));
  });

  test('to draw where every token is forbidden', () => {
    const sampler = new Sampler({ bannedTokens: [0, 2], logitBias: { 1: -Infinity } });
    expectFailure(
      thrown(() => sampler.sample(new Float32Array(3))),
      { ...stateError, message: /no token is left/ },
    );
  });

  test.each<[unknown, Failure]>([
    [{ temprature: 1 }, { type: TypeError, code: 'ERR_INVALID_ARG_VALUE', message: /temprature/ }],
    [{ logprobs: 1 }, { type: TypeError, code: 'ERR_INVALID_ARG_VALUE', message: /logprobs/ }],
    ['fast', invalidArgument(/options/)],
    [{ topP: '1' }, invalidArgument(/topP/)],
    [{ topP: 1.1 }, outOfRange(/topP/)],
    [{ temperature: -1 }, outOfRange(/temperature/)],
    [{ temperature: NaN }, outOfRange(/temperature/)],
    [{ topK: 1.5 }, outOfRange(/topK/)],
    [{ typicalP: 0 }, outOfRange(/typicalP/)],
    [{ seed: -1 }, outOfRange(/seed/)],
    [{ seed: 2n ** 64n }, outOfRange(/seed/)],
    [{ bannedTokens: [2 ** 32] }, { type: WkvError, code: 'ERR_WKV_TOKEN', message: /bannedTokens/ }],
    [{ logitBias: { '-1': 1 } }, invalidArgument(/logitBias/)],
    [{ logitBias: { 1: NaN } }, outOfRange(/logitBias/)],
    [{ samplerOrder: ['topP'] }, invalidArgument(/samplerOrder/)],
    [
      { samplerOrder: new Array(2 ** 32 - 1) },
      invalidArgument(/samplerOrder.* found \[undefined, undefined, /),
    ],
    [
      { samplerOrder: [['topP'], 'topK', 'minP', 'typicalP', 'temperature'] },
      invalidArgument(/samplerOrder/),
    ],
  ])('options like %p', (options, failure) => {
    expectFailure(
      thrown(() => make(options)),
      failure,
    );
  });
});

describe('A fork', () => {
  test('draws what its parent draws, and both go on by themselves', () => {
    const parent = new Sampler({ seed: 1 });
    draw(parent, logits, 20);
    const branch = parent.fork();
    const expected = draw(branch, logits, 20);
    expect(draw(parent, logits, 20)).toEqual(expected);
    draw(branch, logits, 5);
    expect(parent.draws).toBe(40);
    expect(branch.draws).toBe(45);
  });

  test('with a seed draws other tokens, from the same counts', () => {
    const options = { topP: 1, presencePenalty: 50, frequencyPenalty: 0 };
    const parent = new Sampler({ ...options, seed: 1 });
    const flat = new Float32Array(10);
    const before = draw(parent, flat, 5);
    const branch = parent.fork({ seed: 2 });
    expect([branch.seed, branch.draws]).toEqual([2n, 0]);
    const after = draw(branch, flat, 5);
    // What has been drawn comes last.
    expect(new Set([...before, ...after]).size).toBe(10);
    expectFailure(
      thrown(() => callUnchecked(parent, 'fork', [{ sead: 1 }])),
      invalidArgument(/sead/),
    );
  });
});

test('After a reset nothing has been counted, and the random numbers go on', () => {
  const sampler = new Sampler({ temperature: 0, presencePenalty: 50, seed: 4 });
  expect(draw(sampler, Float32Array.of(1, 2, 3), 2)).toEqual([2, 1]);
  sampler.reset();
  expect([sampler.seed, sampler.draws]).toEqual([4n, 2]);
  expect(draw(sampler, Float32Array.of(1, 2, 3), 2)).toEqual([2, 1]);
});

describe('A sampler as bytes', () => {
  const everything: SamplerOptions = {
    temperature: 0.9,
    topP: 0.95,
    topK: 100,
    minP: 0.001,
    typicalP: 0.99,
    presencePenalty: 0.3,
    frequencyPenalty: 1 / 3,
    penaltyDecay: 0.99,
    penaltyExempt: [1, 2, 3],
    logitBias: { 7: 1 / 3, 8: -Infinity },
    bannedTokens: [9],
    samplerOrder: ['temperature', 'minP', 'topK', 'typicalP', 'topP'],
    seed: 2n ** 64n - 3n,
  };

  test.each([{}, { seed: 1 }, everything])('goes on exactly: options %#', (options) => {
    const sampler = new Sampler(options);
    draw(sampler, logits, 100);
    const bytes = sampler.serialize();
    const again = Sampler.deserialize(bytes);
    expect([again.seed, again.draws]).toEqual([sampler.seed, 100]);
    expect(sameBits(again.serialize(), bytes)).toBe(true);
    expect(draw(again, logits, 300)).toEqual(draw(sampler, logits, 300));
  });

  test('is UTF-8 JSON that names its version', () => {
    const parsed: unknown = JSON.parse(Buffer.from(new Sampler(everything).serialize()).toString('utf8'));
    expect(parsed).toMatchObject({
      format: 'wkv sampler',
      version: 1,
      seed: '18446744073709551613',
      draws: '0',
    });
  });

  const saved = (change: object): Uint8Array => {
    const sampler = new Sampler(everything);
    draw(sampler, logits, 5);
    const fields = JSON.parse(Buffer.from(sampler.serialize()).toString('utf8')) as object;
    return Buffer.from(JSON.stringify({ ...fields, ...change }));
  };

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no JSON', Buffer.from('sampler')],
    ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['no object', Buffer.from('[1]')],
    ['null', Buffer.from('null')],
    ['another format', saved({ format: 'wkv state' })],
    ['another version', saved({ version: 2 })],
    ['no options', saved({ options: undefined })],
    ['options that are a list', saved({ options: [] })],
    ['an unknown option', saved({ options: { logitBias: [], topQ: 1 } })],
    ['an option out of range', saved({ options: { logitBias: [], topP: 7 } })],
    [
      'options with a prototype',
      Buffer.from(String(Buffer.from(saved({}))).replace('"topP"', '"__proto__"')),
    ],
    ['no biases', saved({ options: {} })],
    ['biases that are no pairs', saved({ options: { logitBias: [1] } })],
    ['a bias for no token', saved({ options: { logitBias: [['1', 1]] } })],
    ['a bias that is none', saved({ options: { logitBias: [[1, 'a']] } })],
    ['a bias with more than a number', saved({ options: { logitBias: [[1, 2, 3]] } })],
    ['a seed too large', saved({ seed: '18446744073709551616' })],
    ['a seed below 0', saved({ seed: '-1' })],
    ['a seed that is a number', saved({ seed: 1 })],
    ['too many draws', saved({ draws: '9007199254740992' })],
    ['no tokens', saved({ tokens: undefined })],
    ['tokens that do not ascend', saved({ tokens: [3, 3], counts: [1, 1] })],
    ['a token that is none', saved({ tokens: [4294967296], counts: [1] })],
    ['a token that is text', saved({ tokens: ['1'], counts: [1] })],
    ['fewer counts than tokens', saved({ tokens: [1, 2], counts: [1] })],
    ['more counts than tokens', saved({ tokens: [1], counts: [1, 1] })],
    ['a count below 0', saved({ tokens: [1], counts: [-1] })],
    [
      'an endless count',
      Buffer.from(String(Buffer.from(saved({ tokens: [1], counts: [5] }))).replace('[5]', '[1e999]')),
    ],
    ['a count that is none', saved({ tokens: [1], counts: [null] })],
  ])('is refused: %s', (_name, bytes) => {
    expectFailure(
      thrown(() => Sampler.deserialize(bytes)),
      stateError,
    );
  });

  test('is refused by the place of what is wrong, what belongs there, and what is there', () => {
    const bytes = saved({ tokens: [1, -1], counts: [1, 1] });
    const message = /sampler\.tokens\[1\]: expected a token id from 0 to 4294967295, found -1/;
    expectFailure(
      thrown(() => Sampler.deserialize(bytes)),
      { ...stateError, message },
    );
  });

  test('is refused at whatever byte it ends', () => {
    const bytes = saved({});
    for (let length = 0; length < bytes.length; length++) {
      expectFailure(
        thrown(() => Sampler.deserialize(bytes.subarray(0, length))),
        stateError,
      );
    }
  });

  test.each([undefined, 'text', [1], new Uint16Array(4)])('has to be a Uint8Array, not %p', (value) => {
    expectFailure(
      thrown(() => callUnchecked(Sampler, 'deserialize', [value])),
      invalidArgument(/bytes/),
    );
  });
});
