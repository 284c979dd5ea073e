import { getEventListeners } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { loadModel, type LoadProgress, type Model, Tokenizer, WkvError } from '../../lib/index';
import { callUnchecked, expectFailure, invalidArgument, outOfRange, rejection } from '../support/failure';
import { largestDifference } from '../support/compare';
import { randomModel, type RandomTensor } from '../support/random-model';
import {
  oracle,
  smallShape,
  temporaryFolder,
  withModel,
  writeRandomModel,
  writeTensors,
  zeros,
} from '../support/model';

const folder = temporaryFolder();

/** The small model with some of its tensors changed, written to a file of its own. */
let files = 0;
function damaged(change: (tensors: RandomTensor[]) => RandomTensor[]): Promise<string> {
  return writeTensors(folder, `damaged-${files++}`, 'safetensors', change(randomModel(smallShape)));
}

/** The tensors with the one of this name replaced. */
function replace(name: string, change: (tensor: RandomTensor) => RandomTensor) {
  return (tensors: RandomTensor[]): RandomTensor[] => {
    expect(tensors.map((tensor) => tensor.name)).toContain(name);
    return tensors.map((tensor) => (tensor.name === name ? change(tensor) : tensor));
  };
}

describe('loadModel', () => {
  let path: string;
  beforeAll(async () => {
    path = await writeRandomModel(folder, 'whole');
  });

  test('takes a file URL as well as a path', async () => {
    const fingerprint = await withModel(path, {}, (model) => model.info.fingerprint);
    const url = pathToFileURL(path);
    for (const each of [url, url.href, url.href.replace('file', 'FILE')]) {
      const model = await loadModel(each);
      expect(model.info.fingerprint).toBe(fingerprint);
      await model.dispose();
    }
    const elsewhere = await rejection(() => loadModel('file:///a%2Fb.pth'));
    expectFailure(elsewhere, { code: 'ERR_INVALID_FILE_URL_PATH', message: /path: 'file:.*is no path: / });
  });

  test('takes a URL whose class is another, as where tests have a DOM', async () => {
    const { href, protocol } = pathToFileURL(path);
    const model = (await callUnchecked({ loadModel }, 'loadModel', [{ href, protocol }])) as Model;
    expect(model.info.layers).toBe(smallShape.layers);
    await model.dispose();
  });

  test('takes a path with a slash at its end, which a directory may have', async () => {
    await withModel(`${path}/`, {}, async (model) => {
      expect(await model.createSession().evaluate('a')).toHaveLength(smallShape.vocabulary);
    });
  });

  test('says what it loaded', async () => {
    await withModel(path, {}, (model) => {
      const { info } = model;
      expect(info.device).toBe('cpu');
      expect(info.weights).toBe('f32');
      // Per layer att_x and ffn_x [64] and wkv [4 heads][16][16], in f32.
      expect(info.stateBytes).toBe(2 * (64 + 64 + 4 * 16 * 16) * 4);
      expect(info.weightBytes).toBeGreaterThanOrEqual(info.parameters * 4);
      expect(info.fingerprint).toEqual(expect.any(String));
      expect(info.isa).toEqual(expect.any(String));
    });
  });

  test('gives models of other weights another fingerprint', async () => {
    const one = randomModel(smallShape);
    const last = one.at(-1);
    const other = await damaged(
      replace(last?.name ?? '', (tensor) => ({
        ...tensor,
        data: tensor.data.map((value, i) => (i === tensor.data.length - 1 ? -value : value)),
      })),
    );
    const fingerprints = await Promise.all(
      [path, other].map((p) => withModel(p, {}, ({ info }) => info.fingerprint)),
    );
    expect(fingerprints[0]).not.toBe(fingerprints[1]);
  });

  test.each([undefined, 64e-5, 1e-5, 1e-2])(
    'uses the group norm epsilon %p as the oracle does',
    async (epsilon) => {
      const options = epsilon === undefined ? {} : { groupNormEpsilon: epsilon };
      const found = await withModel(path, options, (model) => model.createSession().evaluate([1, 2, 3]));
      const expected = oracle(randomModel(smallShape), [1, 2, 3], options).logits[2]!;
      // As in random-models.test.ts.
      expect(largestDifference(found, expected)).toBeLessThanOrEqual(1e-4);
    },
  );

  test('reports progress that never goes back and reaches its total', async () => {
    const reports: LoadProgress[] = [];
    await withModel(path, { onProgress: (progress) => reports.push({ ...progress }) }, () => undefined);
    expect(reports.length).toBeGreaterThan(0);
    const completed = reports.map((report) => report.completed);
    expect(completed).toEqual([...completed].sort((a, b) => a - b));
    expect(completed.at(-1)).toBe(reports.at(-1)?.total);
  });

  test('reports once, at the end, where the weights are there, or come for another call', async () => {
    const reports: LoadProgress[][] = [[], [], []];
    const load = (i: number): Promise<Model> =>
      loadModel(path, { onProgress: (progress) => reports[i]!.push({ ...progress }) });
    // None is disposed before all are there: the last one would take the weights along.
    const models = [...(await Promise.all([load(0), load(1)])), await load(2)];
    for (const model of models) await model.dispose();
    const counts = reports.map(({ length }) => length);
    expect(counts.slice(0, 2)).toContain(1);
    expect(counts[2]).toBe(1);
    const { total } = reports[0]!.at(-1)!;
    for (const each of reports) expect(each.at(-1)).toEqual({ phase: 'load', completed: total, total });
  });

  test.each([
    ['an error', new Error('no more')],
    ['an error of this package', new WkvError('ERR_WKV_BUSY', 'no more', { cause: 'why' })],
  ])('rejects with what the callback throws where the weights are there, %s', async (_what, reason) => {
    await withModel(path, {}, async () => {
      const onProgress = (): void => {
        throw reason;
      };
      expect(await rejection(() => loadModel(path, { onProgress }))).toBe(reason);
    });
  });

  test('rejects with the reason of a signal that was aborted before', async () => {
    const reason = new WkvError('ERR_WKV_FORMAT', 'changed my mind');
    expect(await rejection(() => loadModel(path, { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });

  test('rejects with the reason of a signal that is aborted while it loads, and leaves no listener', async () => {
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    const loading = loadModel(path, {
      signal: controller.signal,
      onProgress: () => {
        controller.abort(reason);
      },
    });
    expect(await rejection(() => loading)).toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('leaves no listener on a signal that was not aborted', async () => {
    const { signal } = new AbortController();
    await withModel(path, { signal }, () => undefined);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('rejects for a file that is not there, naming it', async () => {
    expectFailure(await rejection(() => loadModel(`${folder}/absent.pth`)), { message: /absent\.pth/ });
  });

  test.each([
    ['thread', { thread: 2 }, /thread/],
    ['weights', { weights: 'f64' }, /weights.*f64|f64.*weights/],
    ['weights', { weights: 16 }, /weights/],
    ['device', { device: 'tpu' }, /device/],
    ['threads', { threads: '2' }, /threads/],
    ['onProgress', { onProgress: 5 }, /onProgress/],
    ['signal', { signal: {} }, /signal/],
    ['tokenizer', { tokenizer: 'world' }, /tokenizer/],
    ['options', 'f32', /options/],
    ['options', null, /options/],
  ])('rejects a wrong %s with a TypeError that names it (%j)', async (_name, options, message) => {
    const error = await rejection(() => callUnchecked({ loadModel }, 'loadModel', [path, options]));
    expectFailure(error, invalidArgument(message));
  });

  test.each([
    [{ size: 0 }, /tokenizer\.size: expected an integer from 1 to 4294967296, found 0/],
    [{ size: NaN }, /tokenizer\.size/],
    [{ size: 2.5 }, /tokenizer\.size/],
    [{ size: 2 ** 33 }, /tokenizer\.size/],
    [{ endOfText: -1 }, /tokenizer\.endOfText: expected an integer from 0 to 4294967295, found -1/],
  ])('rejects a tokenizer with %j with a RangeError that names it', async (wrong, message) => {
    const bytes = Tokenizer.bytes();
    const tokenizer = {
      ...{ size: 256, endOfText: 0, ...wrong },
      encode: (text: string | Uint8Array) => bytes.encode(text),
      decodeBytes: (tokens: Uint32Array | readonly number[]) => bytes.decodeBytes(tokens),
    };
    expectFailure(await rejection(() => loadModel(path, { tokenizer })), outOfRange(message));
  });

  test('names the whole range where a number is no integer', async () => {
    const error = await rejection(() => loadModel(path, { maxBatch: 1.5 }));
    expectFailure(error, outOfRange(/options\.maxBatch: expected an integer from 1 to 65536, found 1\.5/));
  });

  test.each([
    ['threads', 0],
    ['threads', -1],
    ['threads', 1.5],
    ['threads', NaN],
    ['threads', 1e9],
    ['maxBatch', 0],
    ['groupNormEpsilon', -1],
    ['groupNormEpsilon', NaN],
    ['groupNormEpsilon', Infinity],
  ])('rejects %s: %d with a RangeError that names it', async (name, value) => {
    const error = await rejection(() => callUnchecked({ loadModel }, 'loadModel', [path, { [name]: value }]));
    expectFailure(error, outOfRange(new RegExp(name)));
  });

  test.each([[undefined], [5], [{}], [null]])('rejects the path %p with a TypeError', async (value) => {
    const error = await rejection(() => callUnchecked({ loadModel }, 'loadModel', [value]));
    expectFailure(error, { type: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  });
});

describe('A file with tensors that do not make an RWKV 5.2 model', () => {
  test.each([
    'emb.weight',
    'blocks.0.ln0.bias',
    'blocks.1.ln1.weight',
    'blocks.1.att.time_faaaa',
    'blocks.1.att.time_mix_g',
    'blocks.1.att.output.weight',
    'blocks.1.att.ln_x.weight',
    'blocks.1.ffn.time_mix_r',
    'blocks.1.ffn.receptance.weight',
    'ln_out.weight',
    'head.weight',
  ])('is refused without %s', async (name) => {
    const path = await damaged((tensors) => tensors.filter((tensor) => tensor.name !== name));
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_SHAPE', tensor: name, path });
  });

  test.each([
    ['emb.weight', [256, 63]],
    ['emb.weight', [256 * 64]],
    ['head.weight', [255, 64]],
    ['blocks.0.ln0.weight', [65]],
    ['blocks.1.att.time_decay', [4, 15]],
    ['blocks.1.att.time_faaaa', [8, 8]],
    ['blocks.1.att.time_mix_k', [1, 1, 63]],
    ['blocks.1.att.key.weight', [64, 32]],
    ['blocks.1.ffn.key.weight', [225, 64]],
    ['blocks.1.ffn.value.weight', [224, 64]],
    ['ln_out.bias', [32]],
  ])('is refused where %s has the shape %j', async (name, shape) => {
    const path = await damaged(replace(name, () => zeros(name, shape)));
    expectFailure(await rejection(() => loadModel(path)), {
      code: 'ERR_WKV_SHAPE',
      expected: /\d/,
      found: /\d/,
    });
  });

  test.each(['blocks.0.ffn.s_emb.weight', 'blocks.1.att.something', 'stranger'])(
    'is refused for a tensor %s, whose part in the computation nobody knows',
    async (name) => {
      const path = await damaged((tensors) => [...tensors, zeros(name, [64])]);
      expectFailure(await rejection(() => loadModel(path)), {
        code: /ERR_WKV_(UNSUPPORTED|SHAPE)$/,
        message: new RegExp(name.replaceAll('.', '\\.')),
      });
    },
  );

  test('is refused where a layer in the middle is missing', async () => {
    const path = await damaged((tensors) =>
      tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace('blocks.1.', 'blocks.2.') })),
    );
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_SHAPE' });
  });

  test.each([NaN, Infinity, -Infinity])(
    'is refused where a weight is %d, naming tensor and index',
    async (value) => {
      for (const name of [
        'emb.weight',
        'blocks.0.att.time_decay',
        'blocks.1.ffn.value.weight',
        'head.weight',
      ]) {
        const path = await damaged(
          replace(name, (tensor) => ({ ...tensor, data: tensor.data.map((x, i) => (i === 37 ? value : x)) })),
        );
        expectFailure(await rejection(() => loadModel(path)), {
          code: 'ERR_WKV_FORMAT',
          tensor: name,
          message: /\b37\b/,
        });
      }
    },
  );

  test.each(['f16', 'bf16'] as const)('is refused where a %s weight is NaN', async (type) => {
    const tensors = randomModel({ ...smallShape, type });
    const name = 'blocks.0.att.key.weight';
    const path = await writeTensors(
      folder,
      `nan-${type}`,
      'safetensors',
      replace(name, (tensor) => ({ ...tensor, data: tensor.data.map((x, i) => (i === 4095 ? NaN : x)) }))(
        tensors,
      ),
    );
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_FORMAT', tensor: name });
  });

  test('leaves nothing behind that would keep the next from loading', async () => {
    const bad = await damaged((tensors) => tensors.slice(1));
    const good = await damaged((tensors) => tensors);
    for (let i = 0; i < 20; i++) {
      expectFailure(await rejection(() => loadModel(bad)), { code: 'ERR_WKV_SHAPE' });
    }
    expect(await withModel(good, {}, (model) => model.info.layers)).toBe(2);
  });
});

describe('A model that does not fit', () => {
  test('in memory is refused before it is read', async () => {
    // A file of 256 GiB that takes no room: the header, and a hole where the elements would be.
    const [vocabulary, embedding] = [2 ** 24, 4096];
    const path = `${folder}/huge.safetensors`;
    const huge = randomModel(smallShape).map(({ name, shape }) => ({
      name,
      shape: shape.map((size) =>
        size === smallShape.vocabulary ? vocabulary : size === 64 ? embedding : size,
      ),
    }));
    const headSize = [embedding / smallShape.headSize, smallShape.headSize];
    let end = 0;
    const header: Record<string, unknown> = {};
    for (const { name, shape } of huge) {
      const whole = /time_(decay|faaaa)$/.test(name) ? headSize : shape;
      const start = end;
      end += whole.reduce((a, b) => a * b, 2);
      header[name] = { dtype: 'BF16', shape: whole, data_offsets: [start, end] };
    }
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(path, Buffer.concat([length, json]));
    truncateSync(path, 8 + json.length + end);
    const start = performance.now();
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_MEMORY', message: /GiB/ });
    // Reading it would take minutes.
    expect(performance.now() - start).toBeLessThan(5000);
  });
});
