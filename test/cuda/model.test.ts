import { join } from 'node:path';
import {
  convertModel,
  kernels,
  loadModel,
  Sampler,
  State,
  type GenerateOptions,
  type LoadOptions,
  type Model,
} from '../../lib/index';
import { addonPath } from '../../lib/addon';
import { quantizedPrecisions } from '../../lib/quantized';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import { rejection } from '../support/failure';
import { unless } from '../support/unless';
import { allLogits, temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const tokens = [5, 17, 200, 3, 3, 91];

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'cuda');
});

/** On the simulated GPU. */
async function withCuda<T>(
  use: (model: Model) => Promise<T>,
  file = path,
  options: LoadOptions = {},
): Promise<T> {
  return withCudaLibrary(simulatedCuda, async () => {
    const model = await loadModel(file, { ...options, device: 'cuda' });
    try {
      return await use(model);
    } finally {
      await model.dispose();
    }
  });
}

async function withInt8<T>(use: (model: Model) => Promise<T>, options: LoadOptions = {}): Promise<T> {
  const model = await loadModel(path, { ...options, weights: 'int8' });
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

describe('A model on a (simulated) GPU', () => {
  const testOnGpu = unless(withoutSimulatedCuda);

  testOnGpu('says where it is, and has weights in int8 unless something else is asked for', async () => {
    await withCuda(({ info }) => {
      expect(info).toMatchObject({ device: 'cuda:0', weights: 'int8' });
      expect(info.isa).toBe('Simulated GPU, compute capability 8.0');
      return Promise.resolve();
    });
    const features = await withCudaLibrary(simulatedCuda, () => kernels.features());
    const device = { name: 'Simulated GPU', computeCapability: '8.0', memory: 2 ** 30 };
    expect(features.cuda).toMatchObject({ available: true, devices: [device] });
  });

  testOnGpu('says how many sessions there is room for beside it; on the CPU nobody does', async () => {
    await withCuda(({ info }) => {
      expect(info.sessionsThatFit).toBeGreaterThan(0);
      return Promise.resolve();
    });
    await withInt8(({ info }) => {
      expect(info).not.toHaveProperty('sessionsThatFit');
      return Promise.resolve();
    });
  });

  testOnGpu('has the logits and the states of the CPU, bit for bit', async () => {
    const results = await Promise.all(
      [withCuda, withInt8].map((on) =>
        on(async (model) => {
          const session = model.createSession();
          const logits = await allLogits(session, tokens);
          return { logits, state: session.state.values() };
        }),
      ),
    );
    expect(results[0]).toEqual(results[1]);
  });

  testOnGpu('generates, forks and moves sessions to the CPU and back', async () => {
    const options = { maxTokens: 4, temperature: 0, stopTokens: [] };
    const { bytes, more, branch } = await withCuda(async (model) => {
      const session = model.createSession();
      await session.evaluate(tokens);
      const fork = session.fork();
      const saved = session.state.serialize();
      const { tokens: first } = await session.complete([1], options);
      const { tokens: second } = await fork.complete([1], options);
      return { bytes: saved, more: first, branch: second };
    });
    expect(more).toHaveLength(4);
    expect(branch).toEqual(more);
    const onCpu = await withInt8(async (model) => {
      const session = model.createSession({ state: State.deserialize(bytes) });
      return (await session.complete([1], options)).tokens;
    });
    expect(onCpu).toEqual(more);
    await withCuda(async (model) => {
      const session = model.createSession({ state: State.deserialize(bytes) });
      expect((await session.complete([1], options)).tokens).toEqual(more);
    });
  });

  testOnGpu('generates the tokens and the text that the sampler draws from the same logits', async () => {
    const covered: GenerateOptions[] = [
      {},
      { temperature: 0, presencePenalty: 4 },
      { temperature: 2.5, topP: 0.95, topK: 60, minP: 0.001, penaltyDecay: 0.5, penaltyExempt: [10, 20] },
      { temperature: 3, topP: 1, logitBias: { 3: 2, 50: -Infinity }, bannedTokens: [0, 7, 100] },
    ];
    // What the sampler alone does not know of the model's tokens.
    const penalties = { presencePenalty: 0.2, frequencyPenalty: 0.3, penaltyExempt: [] };
    const left: GenerateOptions[] = [
      { temperature: 3, typicalP: 0.5 },
      { temperature: 3, samplerOrder: ['temperature', 'topP', 'topK', 'minP', 'typicalP'] },
    ];
    await withCuda(async (model) => {
      for (const options of [...covered, ...left]) {
        const all = { ...penalties, ...options, seed: 11n, maxTokens: 6, stopTokens: [] };
        const drawn = await model.createSession().complete(tokens, all);
        // To report log-probabilities, logits come to the host.
        const onHost = await model.createSession().complete(tokens, { ...all, logprobs: 1 });
        expect(drawn.tokens).toEqual(onHost.tokens);
        expect(drawn.text).toBe(onHost.text);
        const sampler = new Sampler({ ...penalties, ...options, seed: 11n });
        const session = model.createSession();
        let logits = await session.evaluate(tokens);
        for (const token of drawn.tokens) {
          expect(token).toBe(sampler.sample(logits));
          logits = await session.evaluate([token]);
        }
      }
    });
  });

  testOnGpu('draws what a mask allows as the CPU does', async () => {
    const masked = async (model: Model): Promise<number[]> => {
      const mask = new Uint32Array(Math.ceil(model.info.vocabulary / 32)).fill(0x11111111);
      const options = { seed: 5n, temperature: 3, topP: 1, maxTokens: 8, stopTokens: [] };
      return (await model.createSession().complete(tokens, { ...options, tokenMask: () => mask })).tokens;
    };
    const drawn = await withCuda(masked);
    expect(drawn.every((token) => token % 4 === 0)).toBe(true);
    expect(drawn).toHaveLength(8);
    expect(drawn).toEqual(await withInt8(masked));
  });

  testOnGpu('has the last logits after a generation, in forks and saved states too', async () => {
    await withCuda(async (model) => {
      const options = { seed: 5n, temperature: 3, topP: 1 };
      const { tokens: drawn } = await model.createSession().complete(tokens, { ...options, maxTokens: 8 });
      // It ends at a token that is drawn and not evaluated.
      const [stop = -1] = drawn.slice(-1);
      const session = model.createSession();
      const { tokens: before } = await session.complete(tokens, { ...options, stopTokens: [stop] });
      expect(before).toEqual(drawn.slice(0, drawn.indexOf(stop)));
      const expected = await model.createSession().evaluate([...tokens, ...before]);
      const fork = session.fork();
      const saved = State.deserialize(session.state.serialize());
      expect(await session.evaluate([])).toEqual(expected);
      await session.evaluate([1]);
      expect(await fork.evaluate([])).toEqual(expected);
      expect(await model.createSession({ state: saved }).evaluate([])).toEqual(expected);
    });
  });

  testOnGpu("packs states between calls with statePrecision: 'f16' as on the CPU, bit for bit", async () => {
    const conversation = async (model: Model): Promise<unknown> => {
      const session = model.createSession();
      await session.evaluate(tokens);
      const { state } = session;
      const { tokens: drawn } = await session.complete([1], { maxTokens: 5, seed: 3n, stopTokens: [] });
      const again = model.createSession({ state });
      return [
        state.values(),
        drawn,
        session.state.values(),
        session.state.serialize({ precision: 'f16' }),
        await again.evaluate([2]),
        await session.fork().evaluate([2]),
      ];
    };
    const options = { statePrecision: 'f16' } as const;
    const onGpu = await withCuda(conversation, path, options);
    expect(onGpu).toEqual(await withInt8(conversation, options));
    expect(onGpu).not.toEqual(await withCuda(conversation));
  });

  testOnGpu('draws for many sessions at once what each draws alone', async () => {
    await withCuda(async (model) => {
      const complete = async (_: unknown, i: number): Promise<number[]> =>
        (await model.createSession().complete([i, 3], { maxTokens: 3, seed: BigInt(i), stopTokens: [] }))
          .tokens;
      const numbers = Array.from({ length: 12 }, () => undefined);
      const together = await Promise.all(numbers.map(complete));
      for (const i of [0, 5, 11]) expect(await complete(undefined, i)).toEqual(together[i]);
    });
  });

  for (const weights of quantizedPrecisions) {
    testOnGpu(`has the bits of the CPU in ${weights}, also from a packed file`, async () => {
      const packed = join(folder, `${weights}.safetensors`);
      await convertModel(path, packed, { weights });
      const logitsOf = (model: Model): Promise<Float32Array> => {
        expect(model.info.weights).toBe(weights);
        return allLogits(model.createSession(), tokens);
      };
      const expected = await withModel(packed, { device: 'cpu' }, logitsOf);
      expect(await withCuda(logitsOf, packed)).toEqual(expected);
      expect(await withCuda(logitsOf, path, { weights })).toEqual(expected);
    });
  }

  testOnGpu('keeps states that outlive it', async () => {
    const state = await withCuda(async (model) => {
      const session = model.createSession();
      await session.evaluate(tokens);
      return session.state;
    });
    const values = state.values();
    expect(values.some((value) => value !== 0)).toBe(true);
    await withInt8(async (model) => {
      const session = model.createSession({ state });
      expect(session.state.values()).toEqual(values);
      await session.evaluate([1]);
      expect(state.values()).toEqual(values);
    });
  });

  testOnGpu('is refused where the device is not there, or weights are to be something else', async () => {
    const failure = (options: LoadOptions): Promise<unknown> =>
      rejection(() => withCudaLibrary(simulatedCuda, () => loadModel(path, options)));
    expect(await failure({ device: 'cuda:7' })).toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: "there is no device 'cuda:7'; there is cuda:0 (Simulated GPU)",
    });
    expect(await failure({ device: 'cuda', weights: 'f32' })).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      message: 'the CUDA backend takes weights in int8 or int4, not in f32',
    });
  });
});

describe('A library of the CUDA backend that is none', () => {
  const failure = (library: string | undefined): Promise<unknown> =>
    rejection(() => withCudaLibrary(library, () => loadModel(path, { device: 'cuda' })));

  test('is refused by name', async () => {
    expect(await failure(join(folder, 'missing.so'))).toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: expect.stringMatching(/^the library .*missing\.so cannot be opened: /) as string,
    });
    expect(await failure(addonPath())).toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: expect.stringMatching(/cannot be opened: .*wkv_cuda_api/) as string,
    });
  });

  test('is looked for in a package', async () => {
    expect(await failure(undefined)).toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: expect.stringMatching(/CUDA backend/) as string,
    });
  });
});
