/** Which tensors each version has to have, and which it must not have. */
import { loadModel, WkvError } from '../../lib/index';
import { expectFailure, rejection } from '../support/failure';
import { randomModel, versions, type RandomTensor, type Version } from '../support/random-model';
import { temporaryFolder, withModel, writeTensors, zeros } from '../support/model';

const shape = {
  layers: 2,
  embedding: 16,
  headSize: 4,
  feedForward: 20,
  vocabulary: 12,
  type: 'f32',
  seed: 5,
  ranks: { mix: 3, decay: 5, w: 3, a: 5, v: 2, g: 7 },
} as const;

const folder = temporaryFolder();

let files = 0;
function write(tensors: RandomTensor[]): Promise<string> {
  return writeTensors(folder, `model-${files++}`, 'safetensors', tensors);
}

/** What tells a version from those before it: without these, a file looks like one of another, damaged. */
const telling: Readonly<Record<Version, RegExp>> = {
  '4': /^blocks\.0\.att\.time_decay$/,
  '5.0': /^blocks\.0\.att\.(time_decay|ln_x\.weight)$/,
  '5.1': /^blocks\.0\.att\.(time_decay|gate\.weight)$/,
  '5.2': /^blocks\.0\.att\.(time_decay|gate\.weight)$/,
  '6': /^blocks\.0\.att\.(time_maa_x|time_maa_w1)$/,
  '7': /^$/,
};

/** Layer 0 of version 7 mixes its values with none. */
const unread = /^blocks\.0\.att\.v[012]$/;

/** Tensors of other versions and of variants. */
const strangers: [version: Version, name: string, dimensions: number[]][] = [
  ['4', 'blocks.1.att.time_mix_g', [1, 1, 16]],
  ['4', 'blocks.1.att.gate.weight', [16, 16]],
  ['4', 'blocks.1.att.ln_x.weight', [16]],
  ['4', 'blocks.1.att.time_faaaa', [16]],
  ['4', 'blocks.1.att.time_state', [4, 4, 4]],
  // Of variants with a little attention, or a copy mechanism.
  ['4', 'blocks.1.tiny_q.weight', [16, 16]],
  ['4', 'head_q.weight', [16, 16]],
  ['4', 'blocks.0.pos_emb_x', [1, 8, 16]],
  ['5.0', 'blocks.1.att.time_mix_g', [1, 1, 16]],
  ['5.0', 'blocks.1.att.gate.weight', [16, 16]],
  ['5.1', 'blocks.1.att.time_maa_k', [1, 1, 16]],
  ['5.2', 'blocks.1.att.time_maa_x', [1, 1, 16]],
  ['5.2', 'blocks.1.att.r_k', [4, 4]],
  ['6', 'blocks.1.att.time_mix_k', [1, 1, 16]],
  ['6', 'blocks.1.ffn.time_mix_k', [1, 1, 16]],
  ['6', 'blocks.1.att.x_r', [1, 1, 16]],
  ['7', 'blocks.1.ffn.receptance.weight', [16, 16]],
  ['7', 'blocks.1.att.time_decay', [4, 4]],
  ['7', 'blocks.1.att.gate.weight', [16, 16]],
  // RWKV-7a adds embeddings to the channel mix of version 7.
  ['7', 'blocks.0.ffn.s_emb.weight', [12, 16]],
  ['7', 'blocks.1.ffn.s_emb_x.weight', [12, 16]],
];

/** Tensors that no version has. */
const anywhere: [name: string, dimensions: number[]][] = [
  ['stranger', [16]],
  ['blocks.1.att.something', [16]],
  ['blocks.1.ffn.s_emb.weight', [12, 16]],
];

/** Shapes that do not fit the others. */
const misfits: [version: Version, name: string, dimensions: number[]][] = [
  ['4', 'blocks.1.att.time_decay', [15]],
  ['4', 'blocks.1.att.time_first', [4, 4]],
  ['4', 'blocks.1.att.output.weight', [16, 8]],
  ['5.0', 'blocks.1.att.time_decay', [3]],
  ['5.0', 'blocks.1.att.time_faaaa', [4, 4]],
  ['5.0', 'blocks.1.att.ln_x.bias', [12]],
  ['5.1', 'blocks.1.att.time_decay', [4, 4]],
  ['5.1', 'blocks.1.att.gate.weight', [12, 16]],
  ['5.2', 'blocks.1.att.time_decay', [4]],
  ['5.2', 'blocks.1.att.time_state', [4, 4]],
  ['5.2', 'blocks.1.att.time_state', [4, 4, 3]],
  ['6', 'blocks.1.att.time_maa_w1', [16, 14]],
  ['6', 'blocks.1.att.time_maa_w1', [15, 16]],
  ['6', 'blocks.1.att.time_maa_w2', [5, 4, 16]],
  ['6', 'blocks.1.att.time_maa_w2', [4, 3, 16]],
  ['6', 'blocks.1.att.time_maa_w2', [5, 3, 15]],
  ['6', 'blocks.1.att.time_decay_w1', [15, 5]],
  ['6', 'blocks.1.att.time_decay_w2', [4, 16]],
  ['6', 'blocks.1.att.time_decay', [4, 3]],
  ['6', 'blocks.1.ffn.time_maa_r', [1, 1, 15]],
  ['7', 'blocks.1.att.w1', [15, 3]],
  ['7', 'blocks.1.att.w2', [4, 16]],
  ['7', 'blocks.1.att.v2', [2, 15]],
  ['7', 'blocks.1.att.g1', [16]],
  ['7', 'blocks.1.att.r_k', [4, 3]],
  ['7', 'blocks.1.att.x_g', [1, 1, 15]],
  ['7', 'blocks.1.att.k_k', [1, 1, 12]],
  ['7', 'blocks.1.ffn.x_k', [1, 1, 20]],
  ['7', 'blocks.1.ffn.value.weight', [20, 16]],
];

/** What loading the tensors is refused with. */
async function refusal(tensors: RandomTensor[]): Promise<WkvError> {
  const path = await write(tensors);
  const error = await rejection(() => loadModel(path));
  if (!(error instanceof WkvError)) throw new Error('another error', { cause: error });
  return error;
}

describe.each(versions)('A file of version %s', (version) => {
  const timeState = version !== '4';
  const tensors = randomModel({ ...shape, version, timeState });
  const needed = tensors.filter(({ name }) => !unread.test(name) && !name.endsWith('.time_state'));

  test('loads', async () => {
    expect(await withModel(await write(tensors), {}, ({ info }) => info.version)).toBe(version);
  });

  test('is refused without any one of its tensors, by name', async () => {
    const wrong: unknown[] = [];
    for (const { name } of needed) {
      const { code, tensor } = await refusal(tensors.filter((each) => each.name !== name));
      // The bonus of version 5 has one of two names.
      const named = tensor === name || tensor === name.replace('time_faaaa', 'time_first');
      const taken = telling[version].test(name)
        ? code === 'ERR_WKV_SHAPE' || code === 'ERR_WKV_UNSUPPORTED'
        : code === 'ERR_WKV_SHAPE' && named;
      if (!taken) wrong.push({ without: name, code, tensor });
    }
    expect(wrong).toEqual([]);
  });

  test('is refused for a NaN in any of its tensors, by name and index', async () => {
    const wrong: unknown[] = [];
    for (const { name } of tensors.filter((each) => !unread.test(each.name))) {
      const { code, tensor, message } = await refusal(
        tensors.map((each) => {
          if (each.name !== name) return each;
          return { ...each, data: each.data.map((value, i) => (i === 3 ? NaN : value)) };
        }),
      );
      const right = code === 'ERR_WKV_FORMAT' && tensor === name && /\b3\b/.test(message);
      if (!right) wrong.push({ in: name, code, tensor, message });
    }
    expect(wrong).toEqual([]);
  });

  test.each([...strangers.filter(([of]) => of === version).map(([, ...stranger]) => stranger), ...anywhere])(
    'is refused for a tensor %s that it must not have',
    async (name, dimensions) => {
      expectFailure(await refusal([...tensors, zeros(name, dimensions)]), {
        code: 'ERR_WKV_UNSUPPORTED',
        message: new RegExp(name.replaceAll('.', '\\.')),
      });
    },
  );

  test.each(misfits.filter(([of]) => of === version).map(([, ...misfit]) => misfit))(
    'is refused where %s has the shape %j',
    async (name, dimensions) => {
      expect(tensors.map((tensor) => tensor.name)).toContain(name);
      const changed = tensors.map((tensor) => (tensor.name === name ? zeros(name, dimensions) : tensor));
      expectFailure(await refusal(changed), {
        code: 'ERR_WKV_SHAPE',
        // Of two tensors that do not fit together, either may be the wrong one.
        message: /blocks\.1\.(att|ffn)\./,
        expected: /\d/,
        found: /\d/,
      });
    },
  );
});

describe('A variant of version 6 without low-rank products', () => {
  test.each([
    ['x060a and its like', /time_(maa_w1|maa_w2|decay_w1|decay_w2)$/],
    ['a token shift that does not follow the token', /time_maa_w[12]$/],
  ])('is refused by the name of one of them: %s', async (_what, absent) => {
    const tensors = randomModel({ ...shape, version: '6' });
    const error = await refusal(tensors.filter(({ name }) => !absent.test(name)));
    expectFailure(error, {
      code: /ERR_WKV_(SHAPE|UNSUPPORTED)$/,
      message: /blocks\.0\.att\.time_(maa|decay)_w[12]/,
    });
  });
});
