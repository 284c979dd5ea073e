import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { convertModel, loadModel, type State } from '../../lib/index';
import { native } from '../../lib/native';
import { readTunedState } from '../../lib/tuned-state';
import { temporaryFiles } from '../formats/support';
import { sameBits } from '../support/compare';
import { callUnchecked, expectFailure, invalidArgument, rejection } from '../support/failure';
import { roundTo } from '../support/float16';
import { asWebRwkv } from '../support/foreign-names';
import { writePth, type WritableTensor } from '../support/pth-writer';
import { randomNumbers, randomTokens } from '../support/random-model';
import { writeSafetensors } from '../support/safetensors-writer';
import { smallShape, temporaryFolder, useRandomModel } from '../support/model';

const folder = temporaryFolder();
const { layers, embedding, headSize: N, vocabulary } = smallShape;
const H = embedding / N;

const { model, path: whole } = useRandomModel();

/** What training writes: for each layer [head][value][key]. */
function tuned(type: WritableTensor['type'] = 'f32', seed = 1): WritableTensor[] {
  const random = randomNumbers(seed);
  return Array.from({ length: layers }, (_, layer) => ({
    ...{ name: `blocks.${layer}.att.time_state`, type, shape: [H, N, N] },
    data: Float32Array.from({ length: H * N * N }, () => roundTo('bf16', random() - 0.5)),
  }));
}

/** The numbers of a state that begins with them: per layer no token shift, then [head][key][value]. */
function stateOf(tensors: readonly WritableTensor[]): Float32Array {
  return Float32Array.from(
    tensors.flatMap(({ data }) => {
      const numbers = new Array<number>(2 * embedding).fill(0);
      for (let head = 0; head < H; head++) {
        for (let key = 0; key < N; key++) {
          for (let value = 0; value < N; value++) numbers.push(data[(head * N + value) * N + key]!);
        }
      }
      return numbers;
    }),
  );
}

let files = 0;
const path = (extension: string): string => join(folder, `tuned-${files++}.${extension}`);

async function loaded(write: typeof writePth | typeof writeSafetensors, extension: string): Promise<State> {
  const file = path(extension);
  await write(file, tuned());
  return await model().loadTunedState(file);
}

async function refused(tensors: readonly WritableTensor[]): Promise<{ error: unknown; file: string }> {
  const file = path('pth');
  await writePth(file, tensors);
  return { error: await rejection(() => model().loadTunedState(file)), file };
}

describe('A tuned state', () => {
  test('in a .pth or .safetensors is turned from [value][key] to [key][value]', async () => {
    for (const state of [await loaded(writePth, 'pth'), await loaded(writeSafetensors, 'safetensors')]) {
      expect(sameBits(state.values(), stateOf(tuned()))).toBe(true);
      expect([state.tokens, state.fingerprint]).toEqual([0, model().info.fingerprint]);
    }
  });

  test('in a .st or .state of web-rwkv is [key][value] already', async () => {
    for (const extension of ['st', 'state', 'ST']) {
      const file = path(extension);
      await writeSafetensors(file, asWebRwkv(tuned()));
      const state = await model().loadTunedState(file);
      expect(sameBits(state.values(), stateOf(tuned()))).toBe(true);
    }
  });

  test('lies as it is said to, whatever its file is called', async () => {
    const [own, theirs] = [path('st'), path('safetensors')];
    await writeSafetensors(own, tuned());
    await writeSafetensors(theirs, asWebRwkv(tuned()));
    for (const state of [
      await model().loadTunedState(own, { layout: 'BlinkDL' }),
      await model().loadTunedState(theirs, { layout: 'web-rwkv' }),
    ]) {
      expect(sameBits(state.values(), stateOf(tuned()))).toBe(true);
    }
  });

  test.each(['f16', 'bf16'] as const)('may be of %s, and its layers in any order', async (type) => {
    const file = path('pth');
    await writePth(file, tuned(type).reverse());
    const state = await model().loadTunedState(pathToFileURL(file));
    expect(sameBits(state.values(), stateOf(tuned()))).toBe(true);
  });

  test('leaves nothing of what is unpacked for it', async () => {
    const file = path('pth');
    await writePth(file, tuned(), { compression: 'deflated' });
    const before = temporaryFiles();
    await model().loadTunedState(file);
    expect(temporaryFiles()).toEqual(before);
  });

  test('begins sessions, whose first token is computed with it', async () => {
    const state = await loaded(writePth, 'pth');
    const tokens = randomTokens(8, vocabulary, 4);
    const logits = await model().createSession({ state }).evaluate(tokens);
    // The same numbers, taken over from another program.
    const same = model().importState(stateOf(tuned()), { layout: 'rwkv.cpp' });
    expect(sameBits(await model().createSession({ state: same }).evaluate(tokens), logits)).toBe(true);
    expect(sameBits(await model().createSession().evaluate(tokens), logits)).toBe(false);
    const session = model().createSession({ state });
    expectFailure(await rejection(() => session.complete('')), { code: 'ERR_WKV_STATE' });
  });
});

test('A tuned state is no model: loading or converting it as one names what loads it', async () => {
  const file = path('pth');
  await writePth(file, tuned());
  for (const call of [
    () => loadModel(file),
    () => convertModel(file, path('safetensors'), { weights: 'int8' }),
  ]) {
    expectFailure(await rejection(call), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', path: file, tensor: 'blocks.0.att.time_state' },
      message: /a tuned initial state: .*model\.loadTunedState/,
    });
  }
});

describe('A tuned state of RWKV-7, whose recurrence is [value][key],', () => {
  const dimensions = { architecture: 'rwkv7' as const, layers, embedding, heads: H, headSize: N };
  const numbers = Float32Array.from(
    tuned().flatMap(({ data }) => [...new Array<number>(2 * embedding).fill(0), ...Array.from(data)]),
  );

  test('is taken as it is, and turned where web-rwkv has turned it', async () => {
    const [own, theirs] = [path('pth'), path('st')];
    await writePth(own, tuned());
    await writeSafetensors(theirs, asWebRwkv(tuned()));
    for (const file of [own, theirs]) {
      expect(sameBits(await readTunedState(file, dimensions, {}), numbers)).toBe(true);
    }
  });

  test('of RWKV-4 there is none', async () => {
    const rwkv4 = { ...dimensions, architecture: 'rwkv4' as const };
    expectFailure(await rejection(() => readTunedState(path('pth'), rwkv4, {})), {
      ...{ code: 'ERR_WKV_UNSUPPORTED', message: /RWKV-4/ },
    });
  });
});

describe('model.loadTunedState refuses', () => {
  test('a state of fewer layers, of more, and of other ones', async () => {
    const extra = { ...tuned()[0]!, name: `blocks.${layers}.att.time_state` };
    for (const [tensors, found] of [
      [tuned().slice(1), /: none of layer 0$/],
      [tuned().slice(0, -1), /: none of layer 1$/],
      [[...tuned(), extra], /: 3 layers$/],
      [[...tuned().slice(0, 1), extra], /: none of layer 1$/],
      [[...tuned(), { ...extra, name: 'blocks.00.att.time_state' }], /: 3 layers$/],
    ] as const) {
      const { error, file } = await refused(tensors);
      expectFailure(error, { code: 'ERR_WKV_STATE', message: /other layers/, found, path: file });
    }
  });

  test.each([
    [[H, N * N]],
    [[H, N, N, 1]],
    [[H * N, N, 1]],
    [[1, H, N * N]],
    [[H * N * N]],
    [[H, N / 2, N * 2]],
  ])('a state of the shape %j', async (shape) => {
    const tensors = tuned();
    tensors[1] = { ...tensors[1]!, shape };
    const { error, file } = await refused(tensors);
    expectFailure(error, {
      ...{ code: 'ERR_WKV_SHAPE', tensor: 'blocks.1.att.time_state', path: file },
      ...{ expected: /: \[4, 16, 16\]$/, found: /: \[/ },
    });
  });

  test('a file that holds anything else', async () => {
    for (const name of ['emb.weight', 'blocks.0.att.time_decay', 'language_model.blocks.0.att.time_state']) {
      const { error, file } = await refused([...tuned(), { name, type: 'f32', shape: [1], data: [1] }]);
      expectFailure(error, { code: 'ERR_WKV_STATE', message: /is no tuned state/, tensor: name, path: file });
    }
    expectFailure(await rejection(() => model().loadTunedState(whole)), {
      code: 'ERR_WKV_STATE',
      path: whole,
    });
    const packed = path('safetensors');
    await convertModel(whole, packed, { weights: 'int8' });
    expectFailure(await rejection(() => model().loadTunedState(packed)), { code: 'ERR_WKV_STATE' });
  });

  test('numbers that are not finite, and damaged files', async () => {
    const tensors = tuned();
    tensors[1] = { ...tensors[1]!, data: Float32Array.from(tensors[1]!.data).fill(NaN, 5, 6) };
    const { error, file } = await refused(tensors);
    expectFailure(error, { code: 'ERR_WKV_FORMAT', tensor: 'blocks.1.att.time_state', path: file });
    const missing = path('pth');
    expectFailure(await rejection(() => model().loadTunedState(missing)), { code: 'ERR_WKV_FORMAT' });
    writeFileSync(missing, 'this is no state at all');
    expectFailure(await rejection(() => model().loadTunedState(missing)), {
      ...{ code: 'ERR_WKV_FORMAT', path: missing },
    });
  });

  test('to go on where its signal is aborted while the numbers are read', async () => {
    const file = path('pth');
    await writePth(file, tuned());
    const controller = new AbortController();
    const { signal } = controller;
    jest.spyOn(native, 'readElements').mockImplementationOnce(() => {
      controller.abort(new Error('enough'));
      return Promise.resolve(new Float32Array(layers * H * N * N));
    });
    expect(await rejection(() => model().loadTunedState(file, { signal }))).toBe(signal.reason);
  });

  test('wrong arguments, an aborted signal, and a disposed model', async () => {
    const file = path('pth');
    await writePth(file, tuned());
    const call = (...parameters: unknown[]): Promise<unknown> =>
      rejection(() => callUnchecked(model(), 'loadTunedState', parameters));
    expectFailure(await call(), invalidArgument(/path: expected a non-empty path/));
    expectFailure(await call(file, { layout: 'ChatRWKV' }), invalidArgument(/options\.layout/));
    expectFailure(
      await call(file, { transposed: true }),
      invalidArgument(/options\.transposed: there is no/),
    );
    const reason = new Error('enough');
    expect(await call(file, { signal: AbortSignal.abort(reason) })).toBe(reason);
    const copy = join(folder, 'copy.pth');
    copyFileSync(whole, copy);
    const other = await loadModel(copy);
    await other.dispose();
    for (const wanted of [file, join(folder, 'missing.pth')]) {
      expectFailure(await rejection(() => other.loadTunedState(wanted)), { code: 'ERR_WKV_DISPOSED' });
    }
  });
});
