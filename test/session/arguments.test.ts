import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import {
  Chat,
  Model,
  Sampler,
  Session,
  State,
  Tokenizer,
  WkvError,
  convertModel,
  kernels,
  loadModel,
} from '../../lib/index';
import {
  callUnchecked,
  expectFailure,
  invalidArgument,
  outOfRange,
  rejection,
  thrown,
  type Failure,
} from '../support/failure';
import { output } from '../../lib/native';
import {
  smallShape,
  temporaryFolder,
  useRandomModel,
  withModel,
  writeRandomModel,
  writeTensors,
  zeros,
} from '../support/model';

const folder = temporaryFolder();
const { vocabulary } = smallShape;

let state: State;
/** With more exchanges than are taken back here. */
let chat: Chat;
let tuned: string;
const { model, path } = useRandomModel();
beforeAll(async () => {
  state = model().createSession().state;
  chat = model().createChat();
  for (let i = 0; i < 9; i++) await chat.complete('hi', { maxTokens: 0 });
  const { layers, embedding, headSize } = smallShape;
  const shape = [embedding / headSize, headSize, headSize];
  const states = Array.from({ length: layers }, (_, i) => zeros(`blocks.${i}.att.time_state`, shape));
  tuned = await writeTensors(folder, 'tuned', 'safetensors', states);
});

interface TakesOptions {
  promises: boolean;
  call: (options: unknown) => unknown;
  /** Options that have to be given. */
  required?: object;
}

/** Every public function that takes options: how it is called with them, and whether it returns a promise. */
const functions: Record<string, TakesOptions> = {
  loadModel: { promises: true, call: (o) => callUnchecked({ loadModel }, 'loadModel', [path, o]) },
  convertModel: {
    promises: true,
    call: (o) => callUnchecked({ convertModel }, 'convertModel', [path, join(folder, 'out.safetensors'), o]),
    required: { weights: 'f32', overwrite: true },
  },
  createSession: { promises: false, call: (o) => callUnchecked(model(), 'createSession', [o]) },
  evaluate: { promises: true, call: (o) => callUnchecked(model().createSession(), 'evaluate', [[1], o]) },
  score: { promises: true, call: (o) => callUnchecked(model().createSession(), 'score', [[1], o]) },
  complete: { promises: true, call: (o) => callUnchecked(model().createSession(), 'complete', [[1], o]) },
  generate: { promises: false, call: (o) => callUnchecked(model().createSession(), 'generate', [[1], o]) },
  fork: { promises: false, call: (o) => callUnchecked(model().createSession(), 'fork', [o]) },
  createChat: { promises: false, call: (o) => callUnchecked(model(), 'createChat', [o]) },
  'chat.send': { promises: false, call: (o) => callUnchecked(model().createChat(), 'send', ['hi', o]) },
  'chat.complete': {
    promises: true,
    call: (o) => callUnchecked(model().createChat(), 'complete', ['hi', o]),
  },
  'chat.regenerate': { promises: false, call: (o) => callUnchecked(chat, 'regenerate', [o]) },
  'chat.undo': { promises: true, call: (o) => callUnchecked(chat, 'undo', [o]) },
  'chat.fork': { promises: false, call: (o) => callUnchecked(chat, 'fork', [o]) },
  exportState: {
    promises: false,
    call: (o) => callUnchecked(model(), 'exportState', [state, o]),
    required: { layout: 'rwkv.cpp' },
  },
  importState: {
    promises: false,
    call: (o) =>
      callUnchecked(model(), 'importState', [model().exportState(state, { layout: 'rwkv.cpp' }), o]),
    required: { layout: 'rwkv.cpp' },
  },
  loadTunedState: { promises: true, call: (o) => callUnchecked(model(), 'loadTunedState', [tuned, o]) },
  Sampler: { promises: false, call: (o): unknown => Reflect.construct(Sampler, [o]) },
  'sampler.fork': { promises: false, call: (o) => callUnchecked(new Sampler(), 'fork', [o]) },
  'kernels.quantizeInt8': {
    promises: false,
    call: (o) => callUnchecked(kernels, 'quantizeInt8', [Float32Array.of(1, 2), o]),
    required: { rows: 1, columns: 2 },
  },
  'state.serialize': { promises: false, call: (o) => callUnchecked(state, 'serialize', [o]) },
  'state.serializeAsync': { promises: true, call: (o) => callUnchecked(state, 'serializeAsync', [o]) },
};

/** The array with a hole, where map() and forEach() do not come, after its first element. */
function withHole(array: readonly unknown[]): unknown[] {
  const [first, ...rest] = array;
  const result = [first];
  for (const [i, each] of rest.entries()) result[i + 2] = each;
  return result;
}

function failureOf(name: string, options: unknown): Promise<unknown> {
  const { promises, call } = functions[name]!;
  // rejection() fails for what is thrown, thrown() for what is not.
  return promises ? rejection(() => call(options)) : Promise.resolve(thrown(() => call(options)));
}

describe.each(Object.keys(functions))('The options of %s', (name) => {
  test('may have no key that there is not: a TypeError names it, and those that there are', async () => {
    for (const key of ['sead', 'toString', '__proto__x', 'Signal', '']) {
      const error = await failureOf(name, { [key]: undefined });
      expectFailure(error, invalidArgument(new RegExp(`options\\.${key}: .*there are \\w+`)));
    }
  });

  test.each([
    ['null', null],
    ['a number', 5],
    ['a string', 'f16'],
    ['an array', []],
    ['true', true],
    ['a signal', AbortSignal.abort()],
    ['a Map', new Map([['maxTokens', 1]])],
    ['a date', new Date()],
    ['a promise', Promise.resolve({})],
    [
      'an instance of a class',
      new (class {
        maxTokens = 1;
      })(),
    ],
    ['an object that inherits', Object.create({ maxTokens: 1 })],
    ['an object that inherits from one without a prototype', Object.create(Object.create(null) as object)],
  ])('are no options as %s', async (_what, options) => {
    expectFailure(await failureOf(name, options), invalidArgument(/options: expected a plain object/));
  });

  test('may be left out unless some are needed, be undefined, and have keys that are', async () => {
    const { call, required } = functions[name]!;
    const bare = Object.assign(Object.create(null) as object, { ['seed']: undefined });
    const foreign = runInNewContext('({ signal: undefined })') as object;
    for (const options of [undefined, {}, { ['seed']: undefined, ['signal']: undefined }, bare, foreign]) {
      if (options === undefined && required !== undefined) continue;
      const known = /complete|generate|send/.test(name) ? options : options && { ...required };
      const result = await call(known);
      expect(result === undefined).toBe(name === 'chat.undo');
      if (name === 'loadModel') await (result as Model).dispose();
    }
  });
});

test.each([
  ['Model', Model, /loadModel/],
  ['Session', Session, /model\.createSession/],
  ['Chat', Chat, /model\.createChat/],
  ['State', State, /State\.deserialize/],
  ['Tokenizer', Tokenizer, /Tokenizer\.world/],
])('%s cannot be constructed: the error says what makes one', (_name, type, message) => {
  for (const parameters of [[], [model()], [state.serialize()], [path]]) {
    const error = thrown((): unknown => Reflect.construct(type, parameters));
    expectFailure(error, { type: TypeError, code: 'ERR_ILLEGAL_CONSTRUCTOR', message });
  }
});

describe('What was found instead is shown', () => {
  class Scores {
    readonly values = [];
  }
  const nameless = { constructor: () => 1 };
  const withGetters = Object.create({
    get constructor(): never {
      throw new Error('was called');
    },
  }) as object;
  test.each<[string, unknown]>([
    ["'12'", '12'],
    [String.raw`'1\\n2\\x1B'`, '1\n2\x1b'],
    ['an object of the class Scores', new Scores()],
    ['an object of the class Buffer', Buffer.from('hi')],
    ['an object of the class Int32Array', Int32Array.of(1)],
    ['an object', { tokens: [1] }],
    ['an object', nameless],
    ['an object', Object.create(null)],
    ['an object', withGetters],
    ['an object', new Proxy(new Scores(), {})],
    ['an array', [[1]]],
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
  ])('as %s', (shown, value) => {
    const error = thrown(() => callUnchecked(Tokenizer.bytes(), 'decode', [value]));
    expectFailure(error, invalidArgument(new RegExp(`found ${shown}$`)));
  });
});

describe('What options hold is of its type and in its range:', () => {
  const type = (key: string): Failure => invalidArgument(new RegExp(`^message: options\\.${key}`));
  const range = (key: string): Failure => outOfRange(new RegExp(`^message: options\\.${key}.*expected`));
  const token = { code: 'ERR_WKV_TOKEN' };
  const halfASignal = { aborted: false, reason: undefined, addEventListener: () => undefined };
  const signals = [1, 'now', {}, null, new Proxy({}, {}), halfASignal].map((signal): [object, Failure] => [
    { signal },
    type('signal'),
  ]);
  const draws: [object, Failure][] = [
    ...signals,
    [{ maxTokens: -1 }, range('maxTokens')],
    [{ maxTokens: 0.5 }, range('maxTokens')],
    [{ maxTokens: Infinity }, range('maxTokens')],
    [{ maxTokens: '5' }, type('maxTokens')],
    [{ temperature: -0.1 }, range('temperature')],
    [{ temperature: 101 }, range('temperature')],
    [{ temperature: NaN }, range('temperature')],
    [{ temperature: null }, type('temperature')],
    [{ topP: 1.1 }, range('topP')],
    [{ topP: -0.1 }, range('topP')],
    [{ topK: -1 }, range('topK')],
    [{ topK: 1.5 }, range('topK')],
    [{ topK: 2 ** 32 }, range('topK')],
    [{ minP: 2 }, range('minP')],
    [{ typicalP: 0 }, range('typicalP')],
    [{ typicalP: 1.01 }, range('typicalP')],
    [{ presencePenalty: 101 }, range('presencePenalty')],
    [{ frequencyPenalty: -101 }, range('frequencyPenalty')],
    [{ penaltyDecay: 1.1 }, range('penaltyDecay')],
    [{ penaltyExempt: 5 }, type('penaltyExempt')],
    [{ penaltyExempt: [vocabulary] }, token],
    [{ penalties: 'none' }, type('penalties')],
    [{ bannedTokens: [0.5] }, range('bannedTokens\\[0\\]')],
    [{ bannedTokens: [-1] }, token],
    ...[
      [1],
      new Set([1]),
      new Date(),
      new (class {
        1 = 1;
      })(),
      () => 1,
      null,
    ].map((logitBias): [object, Failure] => [{ logitBias }, type('logitBias')]),
    [{ logitBias: { 1: NaN } }, range('logitBias\\[1\\]')],
    [{ logitBias: { 1: Infinity } }, range('logitBias\\[1\\]')],
    // A float would make it -Infinity, which forbids the token.
    [{ logitBias: { 1: -1e308 } }, range('logitBias\\[1\\]')],
    [{ logitBias: { x: 1 } }, type('logitBias: a key')],
    [{ logitBias: { '-1': 1 } }, type('logitBias: a key')],
    [{ logitBias: new Map([[vocabulary, 1]]) }, token],
    [{ logprobs: 1001 }, range('logprobs')],
    [{ logprobs: true }, type('logprobs')],
    [{ seed: -1 }, range('seed')],
    [{ seed: 2 ** 53 }, range('seed')],
    [{ seed: 2n ** 64n }, range('seed')],
    [{ seed: '1' }, type('seed')],
    [{ stop: 5 }, type('stop')],
    [{ stop: [''] }, range('stop\\[0\\]')],
    [{ stop: ['a', 5] }, type('stop\\[1\\]')],
    [{ stop: withHole(['a', 'b']) }, type('stop\\[1\\]')],
    [{ stopTokens: 'x' }, type('stopTokens')],
    [{ stopTokens: [0.5] }, range('stopTokens\\[0\\]')],
    [{ stopTokens: [vocabulary] }, token],
    [{ samplerOrder: ['topP'] }, type('samplerOrder')],
    [{ samplerOrder: ['topP', 'topP', 'topK', 'minP', 'typicalP'] }, type('samplerOrder')],
    [{ samplerOrder: 'topP' }, type('samplerOrder')],
    [{ samplerOrder: [Object.create(null), Symbol('x'), 1, 2, 3] }, type('samplerOrder')],
    [{ bannedTokens: withHole([1, 2]) }, type('bannedTokens\\[1\\]')],
    [{ samplerOrder: withHole(['topP', 'topK', 'minP', 'typicalP']) }, type('samplerOrder')],
  ];
  const seeds: [object, Failure][] = [
    [{ seed: -1 }, range('seed')],
    [{ seed: 0.5 }, range('seed')],
    [{ seed: -1n }, range('seed')],
    [{ seed: null }, type('seed')],
  ];
  const layouts: [object, Failure][] = [
    [{}, type('layout')],
    [{ layout: 'BlinkDL' }, type('layout')],
  ];
  const cases: Record<string, [object, Failure][]> = {
    loadModel: [
      ...signals,
      [{ device: 'cuda:x' }, type('device')],
      [{ device: 'cuda:0123' }, type('device')],
      [{ weights: 'F16' }, type('weights')],
      [{ threads: 0 }, range('threads')],
      [{ threads: 257 }, range('threads')],
      [{ threads: 1n }, type('threads')],
      [{ maxBatch: 0 }, range('maxBatch')],
      [{ maxBatch: 65_537 }, range('maxBatch')],
      [{ maxBatch: 1.5 }, range('maxBatch')],
      [{ statePrecision: 'bf16' }, type('statePrecision')],
      [{ tokenizer: { size: 5 } }, type('tokenizer')],
      [{ groupNormEpsilon: 1.1 }, range('groupNormEpsilon')],
      [{ onProgress: true }, type('onProgress')],
    ],
    createSession: [
      [{ state: {} }, type('state')],
      [{ state: new Uint8Array(5) }, type('state')],
      [{ state: null }, type('state')],
    ],
    evaluate: [...signals, [{ logits: 'first' }, type('logits')], [{ logits: true }, type('logits')]],
    score: signals,
    complete: draws,
    generate: draws,
    fork: seeds,
    createChat: [
      [{ system: 5 }, type('system')],
      [{ messages: 'hi' }, type('messages')],
      [{ template: 'alpaca' }, type('template')],
      [{ template: {} }, type('template\\.system')],
      [{ session: {} }, type('session')],
      [{ saved: [1] }, type('saved')],
    ],
    'chat.send': draws,
    'chat.complete': draws,
    'chat.regenerate': draws,
    'chat.undo': signals,
    'chat.fork': seeds,
    exportState: layouts,
    importState: layouts,
    loadTunedState: [...signals, [{ layout: 'rwkv.cpp' }, type('layout')]],
    Sampler: [
      [{ topP: 1.1 }, range('topP')],
      [{ logitBias: 1 }, type('logitBias')],
      [{ bannedTokens: [2 ** 32] }, token],
      [{ seed: '1' }, type('seed')],
    ],
    'sampler.fork': seeds,
    'kernels.quantizeInt8': [
      [{}, type('rows')],
      [{ rows: 1 }, type('columns')],
      [{ rows: 0, columns: 2 }, range('rows')],
      [{ rows: 1, columns: 2, group: -1 }, range('group')],
    ],
    convertModel: [
      ...signals,
      [{}, type('weights')],
      [{ weights: 'auto' }, type('weights')],
      [{ overwrite: 1 }, type('overwrite')],
      [{ threads: 257 }, range('threads')],
      [{ onProgress: true }, type('onProgress')],
    ],
    'state.serialize': [[{ precision: 'f64' }, type('precision')]],
    'state.serializeAsync': [[{ precision: 16 }, type('precision')]],
  };

  test('every function is here', () => {
    expect(Object.keys(cases).sort()).toEqual(Object.keys(functions).sort());
  });

  test.each(Object.entries(cases))('%s', async (name, wrong) => {
    for (const [options, failure] of wrong) expectFailure(await failureOf(name, options), failure);
  });
});

describe('What is no input', () => {
  const inputs: [string, unknown, Failure][] = [
    [
      'nothing',
      undefined,
      {
        type: TypeError,
        code: 'ERR_INVALID_ARG_TYPE',
        message: /: (input|prompt): expected a string, a Uint32Array or an array/,
      },
    ],
    ['null', null, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['a number', 5, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['bytes', Uint8Array.of(1), { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['an object', {}, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['a Float32Array', Float32Array.of(1), { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['words', ['a'], { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['digits', ['1'], { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['a hole', Array<number>(2), { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' }],
    ['a fraction', [0.5], { type: RangeError, code: 'ERR_OUT_OF_RANGE' }],
    ['NaN', [NaN], { type: RangeError, code: 'ERR_OUT_OF_RANGE' }],
    ['an id below 0', [-1], { type: WkvError, code: 'ERR_WKV_TOKEN' }],
    ['an id outside the model', [vocabulary], { type: WkvError, code: 'ERR_WKV_TOKEN' }],
    ['an id of more than 32 bits', [2 ** 32], { type: WkvError, code: 'ERR_WKV_TOKEN' }],
  ];

  test.each(inputs)('is rejected by every function of a session: %s', async (_what, input, failure) => {
    const session = model().createSession();
    for (const name of ['evaluate', 'score', 'complete']) {
      expectFailure(await rejection(() => callUnchecked(session, name, [input])), failure);
    }
    expectFailure(
      thrown(() => callUnchecked(session, 'generate', [input])),
      failure,
    );
    expect(session.state.tokens).toBe(0);
  });

  test.each([[undefined], ['state'], [[1]], [Float32Array.of(1)]])(
    'is rejected by State.deserializeAsync: %p',
    async (bytes) => {
      const error = await rejection(() => callUnchecked(State, 'deserializeAsync', [bytes]));
      expectFailure(error, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    },
  );

  test('is text for a model without a tokenizer, in every function', async () => {
    const odd = await writeRandomModel(folder, 'odd', { ...smallShape, vocabulary: 300 });
    await withModel(odd, {}, async (other) => {
      expect(other.tokenizer).toBeUndefined();
      const session = other.createSession();
      const failure = { type: WkvError, code: 'ERR_WKV_TOKEN', message: /tokenizer/ };
      for (const text of ['x', 'x'.repeat(20_000), '']) {
        expectFailure(await rejection(() => session.evaluate(text)), failure);
        expectFailure(await rejection(() => session.score(text)), failure);
        expectFailure(await rejection(() => session.complete(text)), failure);
        expectFailure(
          thrown(() => session.generate(text)),
          failure,
        );
      }
      const { tokens, text } = await session.complete([299], { maxTokens: 5, seed: 1 });
      expect(tokens).toHaveLength(5);
      expect(text).toBe('');
    });
  });
});

describe('What fails rejects and never throws:', () => {
  test('functions that return promises, on what is disposed, busy, aborted or damaged', async () => {
    const [busy, gone] = [model().createSession(), model().createSession()];
    const generation = busy.generate([1], { maxTokens: 3 });
    await generation.next();
    gone.dispose();
    const aborted = { signal: AbortSignal.abort(new Error('aborted')) };
    for (const session of [busy, gone, model().createSession()]) {
      for (const call of [
        () => session.evaluate([1], aborted),
        () => session.score([1], aborted),
        () => session.complete([1], aborted),
      ]) {
        expectFailure(await rejection(call), { message: /aborted|disposed|iterated/ });
      }
    }
    await generation.return(undefined);
    const damaged = await rejection(() => State.deserializeAsync(new Uint8Array(5)));
    expectFailure(damaged, { type: WkvError, code: 'ERR_WKV_STATE' });
    const other = await loadModel(path);
    const snapshot = other.createSession().state;
    await other.dispose();
    await expect(other.dispose()).resolves.toBeUndefined();
    // A state needs no model.
    await expect(snapshot.serializeAsync()).resolves.toBeInstanceOf(Uint8Array);
  });
});

describe('An array whose memory is gone', () => {
  const transferred = <Kind extends Uint8Array | Uint32Array>(array: Kind): Kind => {
    structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
    return array;
  };
  const refused = { type: TypeError, code: 'ERR_INVALID_ARG_VALUE', message: /with its memory/ };

  test('is not taken for an empty one', async () => {
    const session = model().createSession();
    const logits = await session.evaluate([1, 2]);
    const tokens = transferred(Uint32Array.of(1, 2, 3));
    expectFailure(await rejection(() => session.evaluate(tokens)), refused);
    expectFailure(await rejection(() => session.score(tokens)), refused);
    expectFailure(await rejection(() => session.complete(tokens)), refused);
    expectFailure(
      thrown(() => session.generate('', { stopTokens: tokens })),
      refused,
    );
    expectFailure(
      thrown(() => Tokenizer.bytes().decode(tokens)),
      refused,
    );
    expectFailure(
      thrown(() => Tokenizer.bytes().encode(transferred(Uint8Array.of(1)))),
      refused,
    );
    expectFailure(
      thrown(() => State.deserialize(transferred(state.serialize()))),
      refused,
    );
    const buffer = Reflect.construct(ArrayBuffer, [12, { maxByteLength: 64 }]) as ArrayBuffer;
    const shrunk = new Uint32Array(buffer, 4, 2);
    callUnchecked(buffer, 'resize', [4]);
    expectFailure(await rejection(() => session.evaluate(shrunk)), refused);
    // Those that are empty by themselves are.
    expect(await session.evaluate(new Uint32Array(0))).toEqual(logits);
  });
});

describe('Code of the caller that disposes the session in the middle of a call gets ERR_WKV_DISPOSED', () => {
  const disposed = { code: 'ERR_WKV_DISPOSED' };

  test('from a tokenizer', async () => {
    const bytes = Tokenizer.bytes();
    let session: Session | undefined;
    const tokenizer = Object.assign(Tokenizer.bytes(), {
      decodeBytes: (tokens: readonly number[]) => {
        session?.dispose();
        return bytes.decodeBytes(tokens);
      },
    });
    await withModel(path, { tokenizer }, async (other) => {
      const own = other.createSession();
      session = own;
      expectFailure(await rejection(() => own.complete([5, 6])), { type: WkvError, ...disposed });
    });
  });

  test('from a getter, where it calls the addon itself', () => {
    const session = model().createNative(undefined);
    const evaluation = {
      ...{ tokens: Uint32Array.of(1), generated: false, draw: false, pack: false, abandonable: true },
      get output() {
        session.dispose();
        return output.last;
      },
    };
    expectFailure(
      thrown(() => session.evaluate(evaluation)),
      disposed,
    );
  });
});

describe('A WkvError', () => {
  test('is an Error with a code, and has a cause and details where there are some', async () => {
    const absent = join(folder, 'absent.pth');
    const error = await rejection(() => loadModel(absent));
    expect(error).toBeInstanceOf(WkvError);
    expect(error).toBeInstanceOf(Error);
    expectFailure(error, { path: absent, code: /ERR_WKV_/ });
    expect(error).toMatchObject({ name: 'WkvError', cause: { code: 'ENOENT' } });
    const token = await rejection(() => model().createSession().evaluate([vocabulary]));
    expectFailure(token, { expected: /0 to 255/, found: /256/ });
  });
});
