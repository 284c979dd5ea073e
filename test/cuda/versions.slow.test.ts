import { loadModel, State, type Model } from '../../lib/index';
import type { QuantizedPrecision } from '../../lib/quantized';
import { simulatedCuda, withCudaLibrary, withoutSimulatedCuda } from '../support/cuda';
import {
  randomModel,
  randomTokens,
  versions,
  type RandomModelShape,
  type RandomTensor,
} from '../support/random-model';
import { unless } from '../support/unless';
import { atOnce, expectSameBits, inPieces } from '../session/outcomes';
import { temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();
const testOnGpu = unless(withoutSimulatedCuda);

/** Two heads of the size that kernels have a fast form for. */
const usual = {
  layers: 2,
  embedding: 128,
  headSize: 64,
  feedForward: 300,
  vocabulary: 130,
  type: 'bf16',
  seed: 61,
} as const satisfies RandomModelShape;

/** Three layers and three heads, of widths that no kernel divides. */
const odd = {
  layers: 3,
  embedding: 78,
  headSize: 26,
  feedForward: 131,
  vocabulary: 97,
  type: 'f16',
  seed: 62,
  ranks: { mix: 7, decay: 13, w: 13, a: 11, v: 5, g: 17 },
} as const satisfies RandomModelShape;

const prompt = randomTokens(30, 97, 1);

/** Calls `body` with the model on the simulated GPU and with the one on the CPU. */
async function onBoth(
  name: string,
  tensors: RandomTensor[],
  body: (gpu: Model, cpu: Model) => Promise<void>,
  weights: QuantizedPrecision = 'int8',
): Promise<void> {
  const file = await writeTensors(folder, name, 'safetensors', tensors);
  await withModel(file, { weights }, async (cpu) => {
    const gpu = await withCudaLibrary(simulatedCuda, () => loadModel(file, { device: 'cuda', weights }));
    try {
      await body(gpu, cpu);
    } finally {
      await gpu.dispose();
    }
  });
}

describe.each(versions)('Version %s on a (simulated) GPU', (version) => {
  testOnGpu('says what it is, and where', async () => {
    await onBoth(`info-${version}`, randomModel({ ...odd, version }), (gpu, cpu) => {
      expect(gpu.info).toMatchObject({ version, device: 'cuda:0', weights: 'int8' });
      expect(gpu.info.stateBytes).toBe(cpu.info.stateBytes);
      return Promise.resolve();
    });
  });

  for (const [name, shape] of Object.entries({ usual, odd })) {
    testOnGpu(`has the bits of the CPU, in ${name} widths`, async () => {
      await onBoth(`${name}-${version}`, randomModel({ ...shape, version }), async (gpu, cpu) => {
        expectSameBits(await atOnce(gpu.createSession(), prompt), await atOnce(cpu.createSession(), prompt));
      });
    });
  }

  testOnGpu('has the bits of the CPU in int4', async () => {
    const compare = async (gpu: Model, cpu: Model): Promise<void> => {
      expect(gpu.info.weights).toBe('int4');
      expectSameBits(await atOnce(gpu.createSession(), prompt), await atOnce(cpu.createSession(), prompt));
    };
    await onBoth(`int4-${version}`, randomModel({ ...odd, version }), compare, 'int4');
  });

  testOnGpu('has the same bits in pieces, token by token, and beside other sessions', async () => {
    await onBoth(`pieces-${version}`, randomModel({ ...usual, version, seed: 63 }), async (gpu) => {
      const few = prompt.subarray(0, 15);
      const whole = await atOnce(gpu.createSession(), few);
      const lengths = [1, 7, 1, 6];
      expectSameBits(await inPieces(gpu.createSession(), few, () => lengths.shift() ?? 1), whole);
      const others = [3, 9, 1].map((length) => atOnce(gpu.createSession(), randomTokens(length, 97, length)));
      const beside = inPieces(gpu.createSession(), few, () => 1);
      expectSameBits(await beside, whole);
      for (const [i, length] of [3, 9, 1].entries()) {
        const alone = await atOnce(gpu.createSession(), randomTokens(length, 97, length));
        expectSameBits(await others[i]!, alone);
      }
    });
  });

  testOnGpu("packs states between calls with statePrecision: 'f16' as on the CPU", async () => {
    const file = await writeTensors(
      folder,
      `packed-${version}`,
      'safetensors',
      randomModel({ ...odd, version }),
    );
    const conversation = async (model: Model): Promise<unknown> => {
      const session = model.createSession();
      const state = [];
      for (const piece of [prompt.subarray(0, 15), prompt.subarray(15)]) {
        await session.evaluate(piece);
        const saved = State.deserialize(session.state.serialize({ precision: 'f16' }));
        state.push(session.state.values(), saved.values());
      }
      return state;
    };
    const statePrecision = 'f16';
    const load = (): Promise<Model> => loadModel(file, { device: 'cuda', statePrecision });
    const gpu = await withCudaLibrary(simulatedCuda, load);
    const onGpu = await conversation(gpu).finally(() => gpu.dispose());
    await withModel(file, { weights: 'int8', statePrecision }, async (cpu) => {
      expect(onGpu).toEqual(await conversation(cpu));
    });
  });

  testOnGpu('moves sessions between the GPU and the CPU, and generates the same tokens', async () => {
    await onBoth(`moves-${version}`, randomModel({ ...odd, version, seed: 64 }), async (gpu, cpu) => {
      const [first, rest] = [prompt.subarray(0, 15), prompt.subarray(15)];
      const expected = await atOnce(cpu.createSession(), prompt);
      for (const [from, to] of [
        [gpu, cpu],
        [cpu, gpu],
      ] as const) {
        const begun = from.createSession();
        await begun.evaluate(first);
        const session = to.createSession({ state: State.deserialize(begun.state.serialize()) });
        const { logits, state } = await atOnce(session, rest);
        const behind = expected.logits.subarray(first.length * odd.vocabulary);
        expectSameBits({ logits, state }, { logits: behind, state: expected.state });
      }
      const options = { seed: 3n, temperature: 2, topP: 1, maxTokens: 5, stopTokens: [] };
      const { tokens } = await gpu.createSession().complete(first, options);
      expect(tokens).toHaveLength(5);
      expect(tokens).toEqual((await cpu.createSession().complete(first, options)).tokens);
    });
  });
});

describe('On a (simulated) GPU', () => {
  for (const version of ['5.2', '6', '7'] as const) {
    testOnGpu(`a session of version ${version} begins where the time_state of its file says`, async () => {
      const tensors = randomModel({ ...odd, version, timeState: true });
      await onBoth(`tuned-${version}`, tensors, async (gpu, cpu) => {
        const state = gpu.createSession().state.values();
        expect(state.some((value) => value !== 0)).toBe(true);
        expect(state).toEqual(cpu.createSession().state.values());
        expectSameBits(await atOnce(gpu.createSession(), prompt), await atOnce(cpu.createSession(), prompt));
      });
    });
  }

  testOnGpu('version 5.0 with the logarithm of its bonus', async () => {
    const tensors = randomModel({ ...odd, version: '5.0', timeFirst: true });
    await onBoth('time-first', tensors, async (gpu, cpu) => {
      expectSameBits(await atOnce(gpu.createSession(), prompt), await atOnce(cpu.createSession(), prompt));
    });
  });

  const others: Record<string, RandomModelShape> = {
    'one layer': { ...odd, layers: 1 },
    'values in the first layer that nothing reads': { ...odd, unusedValues: true },
    'LoRA matrices in f32': { ...odd, type: 'f32' },
  };
  for (const [name, shape] of Object.entries(others)) {
    testOnGpu(`version 7 with ${name}`, async () => {
      await onBoth(name, randomModel({ ...shape, version: '7' }), async (gpu, cpu) => {
        expectSameBits(await atOnce(gpu.createSession(), prompt), await atOnce(cpu.createSession(), prompt));
      });
    });
  }
});
