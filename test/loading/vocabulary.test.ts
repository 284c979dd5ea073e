import { Tokenizer, loadModel, type TokenizerLike } from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, invalidArgument, rejection } from '../support/failure';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const evenOdds = { temperature: 100, topP: 1, maxTokens: 400, stopTokens: [] };

test('A tokenizer that is larger than the model is said to be, where it has an id that the model lacks', async () => {
  const path = await writeRandomModel(folder, 'narrower', { ...smallShape, vocabulary: 100 });
  await withModel(path, { tokenizer: Tokenizer.bytes() }, async (model) => {
    const session = model.createSession();
    expect(await session.score('42')).toHaveLength(2);
    for (const text of ['what', 'what'.repeat(3000)]) {
      expectFailure(await rejection(() => session.complete(text)), {
        code: 'ERR_WKV_TOKEN',
        message:
          /: tokens\[0\]: expected an id from 0 to 99, found 119: the tokenizer has 256 ids, the model only 100$/,
        ...{ expected: /: an id from 0 to 99$/, found: /: 119$/ },
      });
    }
  });
});

describe('A tokenizer that is smaller than the model', () => {
  let path: string;
  beforeAll(async () => {
    path = await writeRandomModel(folder, 'wider', { ...smallShape, vocabulary: 300 });
  });

  test('never gets ids that it does not have', async () => {
    await withModel(path, { tokenizer: Tokenizer.bytes() }, async (model) => {
      const { tokens } = await model.createSession().complete('x', { ...evenOdds, seed: 1 });
      expect(tokens).toHaveLength(400);
      expect(Math.max(...tokens)).toBeLessThan(256);
    });
    await withModel(path, {}, async (model) => {
      // Without a tokenizer all ids are as good as others: at these odds some of the last 44 come up.
      const { tokens } = await model.createSession().complete([120], { ...evenOdds, seed: 1 });
      expect(Math.max(...tokens)).toBeGreaterThanOrEqual(256);
    });
  });

  test('is never asked for the bytes of ids that it does not have', async () => {
    const strict: TokenizerLike = {
      size: 100,
      endOfText: 0,
      encode: (text) => Uint32Array.from(Buffer.from(text)),
      decodeBytes: (ids) => {
        if ([...ids].some((id) => id >= 100)) throw new Error('no such id');
        return Uint8Array.from(ids);
      },
    };
    await withModel(path, { tokenizer: strict }, async (model) => {
      const { tokens } = await model.createSession().complete('A', { ...evenOdds, maxTokens: 20, seed: 1 });
      expect(tokens).toHaveLength(20);
    });
  });

  test('never gets ids that it has no bytes for, except the end of text', async () => {
    const onlyDigits: TokenizerLike = {
      size: 300,
      endOfText: 7,
      encode: (text) => Uint32Array.from(Buffer.from(text)),
      decodeBytes: (ids) => Uint8Array.from([...ids].filter((id) => id >= 48 && id < 58)),
    };
    await withModel(path, { tokenizer: onlyDigits }, async (model) => {
      const { text, tokens } = await model.createSession().complete('1', { ...evenOdds, seed: 2 });
      expect(text.replace(/\d/g, '')).toBe('');
      expect(new Set(tokens).size).toBe(11);
      expect(tokens).toContain(7);
    });
  });

  test('is refused for generation where it has bytes for nothing', async () => {
    const mute: TokenizerLike = {
      size: 300,
      endOfText: 300,
      encode: () => Uint32Array.of(1),
      decodeBytes: () => new Uint8Array(),
    };
    await withModel(path, { tokenizer: mute }, async (model) => {
      const error = await rejection(() => model.createSession().complete('x', evenOdds));
      expectFailure(error, { code: 'ERR_WKV_TOKEN' });
    });
  });
});

describe.each<[string, () => Tokenizer]>([
  ['inherits from one of the package', () => Object.create(Tokenizer.bytes()) as Tokenizer],
  ['is one of the package', () => Tokenizer.bytes()],
])('A tokenizer that %s, with methods of its own,', (_what, make) => {
  const bytes = Tokenizer.bytes();
  let path: string;
  beforeAll(async () => {
    path = await writeRandomModel(folder, 'small');
  });

  test('encodes texts of any length with its own', async () => {
    const tokenizer = Object.assign(make(), {
      encode: (text: string | Uint8Array) => bytes.encode(String(text).toUpperCase()),
    });
    await withModel(path, { tokenizer }, async (model) => {
      for (const length of [100, 10_000]) {
        const [own, expected] = [model.createSession(), model.createSession()];
        const found = await own.evaluate('a'.repeat(length));
        expect(sameBits(found, await expected.evaluate(new Uint32Array(length).fill(65)))).toBe(true);
      }
    });
  });

  test('never gets ids that it has no bytes for', async () => {
    const tokenizer = Object.assign(make(), {
      decodeBytes: (ids: Uint32Array | readonly number[]) =>
        bytes.decodeBytes([...ids].filter((id) => id >= 48 && id < 58)),
    });
    await withModel(path, { tokenizer }, async (model) => {
      const { tokens } = await model.createSession().complete('1', { ...evenOdds, seed: 2 });
      expect(new Set(tokens).size).toBe(11);
    });
  });
});

test.each<[string, unknown]>([
  ['a string', 'x'],
  ['nothing', undefined],
  ['an array', [120]],
])('A tokenizer whose decodeBytes returns %s is refused at every generation', async (_what, wrong) => {
  const path = await writeRandomModel(folder, 'small');
  let right = false;
  const tokenizer: TokenizerLike = {
    size: 256,
    endOfText: 0,
    encode: (text) => Uint32Array.from(Buffer.from(text)),
    decodeBytes: (ids) => (right ? Uint8Array.from(ids) : wrong) as Uint8Array,
  };
  const failure = invalidArgument(/decodeBytes returned: expected a Uint8Array, found/);
  await withModel(path, { tokenizer }, async (model) => {
    const session = model.createSession();
    const options = { maxTokens: 3, stopTokens: [] };
    expectFailure(await rejection(() => session.complete('a', options)), failure);
    right = true;
    expect((await session.complete('a', options)).tokens).toHaveLength(3);
    // Now the model knows its tokens, but not those that are drawn.
    right = false;
    expectFailure(await rejection(() => session.complete('a', options)), failure);
    right = true;
    expect((await session.complete('a', options)).tokens).toHaveLength(3);
  });
});

test('Text whose tokens the model does not have is refused', async () => {
  const path = await writeRandomModel(folder, 'narrow', { ...smallShape, vocabulary: 100 });
  const model = await loadModel(path, { tokenizer: Tokenizer.bytes() });
  expectFailure(await rejection(() => model.createSession().evaluate('~~~')), {
    code: 'ERR_WKV_TOKEN',
    message: /126/,
  });
  await model.dispose();
});

test('What onProgress throws ends the loading', async () => {
  const path = await writeRandomModel(folder, 'small');
  const reason = new Error('the progress bar broke');
  const onProgress = (): void => {
    throw reason;
  };
  expect(await rejection(() => loadModel(path, { onProgress }))).toBe(reason);
});

test('A seed that comes with a prompt that is aborted is forgotten', async () => {
  const path = await writeRandomModel(folder, 'small');
  await withModel(path, {}, async (model) => {
    const [one, two] = [model.createSession(), model.createSession()];
    await Promise.all([
      one.complete([1], { seed: 5, maxTokens: 3 }),
      two.complete([1], { seed: 5, maxTokens: 3 }),
    ]);
    const controller = new AbortController();
    const aborted = rejection(() =>
      two.complete(new Uint32Array(50_000), { seed: 6, signal: controller.signal }),
    );
    controller.abort();
    expect(await aborted).toBe(controller.signal.reason);
    const [a, b] = await Promise.all(
      [one, two].map((each) => each.complete([], { ...evenOdds, maxTokens: 50 })),
    );
    expect(b?.tokens).toEqual(a?.tokens);
  });
});

test('A tokenizer of the size of the model is not called larger, where it gives an id that there is not', async () => {
  const path = await writeRandomModel(folder, 'as-wide', smallShape);
  const size = smallShape.vocabulary;
  const tokenizer: TokenizerLike = {
    ...{ size, endOfText: 0 },
    encode: () => Uint32Array.of(size),
    decodeBytes: () => new Uint8Array(0),
  };
  await withModel(path, { tokenizer }, async (model) => {
    expectFailure(await rejection(() => model.createSession().evaluate('what')), {
      ...{ code: 'ERR_WKV_TOKEN', message: new RegExp(`, found ${size}$`) },
    });
  });
});
