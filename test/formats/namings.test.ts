import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTensorDirectory } from '../../lib/formats';
import {
  asFlashLinearAttention,
  asTransformersRwkv,
  asWebRwkv,
  withOneShift,
} from '../support/foreign-names';
import { writePth, type WritableTensor } from '../support/pth-writer';
import { readTensors } from '../support/read-tensors';
import { versions, type Version } from '../support/random-model';
import { smallModelOf, transposed } from '../support/small-models';
import { writeHuggingFaceDirectory, writeSafetensors } from '../support/safetensors-writer';
import { refusal, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

/** Name, shape and elements of what a reader finds, in the order of names. */
async function found(path: string): Promise<unknown[]> {
  const tensors = [...(await readTensors(path)).values()];
  return sorted(tensors.map(({ name, shape, values }) => ({ name, shape, data: [...values] })));
}

function expected(tensors: readonly WritableTensor[]): unknown[] {
  return sorted(
    tensors.map(({ name, shape, data }) => ({ name, shape: [...shape], data: Array.from(data) })),
  );
}

function sorted<Named extends { name: string }>(tensors: readonly Named[]): Named[] {
  return [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function written(name: string, tensors: readonly WritableTensor[]): Promise<string> {
  const path = scratch(`${name}.safetensors`);
  await writeSafetensors(path, tensors, { metadata: { format: 'pt' } });
  return path;
}

/** Writes tensors, with the names that they have, over two files with an index. */
async function writtenInShards(name: string, tensors: readonly WritableTensor[]): Promise<string> {
  const directory = scratch(name);
  mkdirSync(directory);
  const half = Math.ceil(tensors.length / 2);
  const parts = [tensors.slice(0, half), tensors.slice(half)];
  const index = new Map<string, string>();
  for (const [number, part] of parts.entries()) {
    const file = `model-0000${number + 1}-of-00002.safetensors`;
    for (const tensor of part) index.set(tensor.name, file);
    await writeSafetensors(join(directory, file), part);
  }
  const weightMap = Object.fromEntries(index);
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  return directory;
}

/** What the tensors of a model are without those of its first layer that nothing uses. */
const used = (tensors: readonly WritableTensor[]): WritableTensor[] =>
  tensors.filter(({ name }) => !/^blocks\.0\.att\.v[012]$/.test(name));

describe("BlinkDL's names", () => {
  test.each(versions)('of RWKV-%s stay as they are', async (version) => {
    const model = smallModelOf(version, 'f16');
    expect(await found(await written(`own-${version}`, model))).toEqual(expected(model));
    const pth = scratch(`own-${version}.pth`);
    await writePth(pth, model);
    expect(await found(pth)).toEqual(expected(model));
  });

  test('of RWKV-7 stay as they are where its LoRA matrices are square', async () => {
    const square = (name: string): boolean => /att\.[wavg][12]$/.test(name);
    const model = smallModelOf('7').map((tensor) => {
      const data = Float32Array.from({ length: 36 }, (_, index) => index);
      return square(tensor.name) ? { ...tensor, shape: [6, 6], data } : tensor;
    });
    expect(await found(await written('square', model))).toEqual(expected(model));
  });
});

describe('names that a wrapper has put something in front of', () => {
  test.each(['_forward_module.', 'module.', '_orig_mod.', 'module._orig_mod.', 'model._orig_mod.'])(
    '(%s)',
    async (wrapper) => {
      const model = smallModelOf('7');
      const wrapped = (tensors: readonly WritableTensor[]): WritableTensor[] =>
        tensors.map((tensor) => ({ ...tensor, name: wrapper + tensor.name }));
      expect(await found(await written('wrapped', wrapped(model)))).toEqual(expected(model));
      const theirs = asFlashLinearAttention(model);
      expect(await found(await written('wrapped-fla', wrapped(theirs)))).toEqual(expected(used(model)));
      const { ownName } = await openTensorDirectory(scratch('wrapped.safetensors'));
      expect(ownName?.('blocks.0.att.r_k')).toBe(`${wrapper}blocks.0.att.r_k`);
      const { ownName: flaName } = await openTensorDirectory(scratch('wrapped-fla.safetensors'));
      expect(flaName?.('blocks.0.att.r_k')).toBe(`${wrapper}model.layers.0.attn.r_k`);
    },
  );

  test('are what is left behind what all have', async () => {
    const behind = (wrapper: string, tensors: readonly WritableTensor[]): WritableTensor[] =>
      tensors.map((tensor) => ({ ...tensor, name: `${wrapper}${tensor.name}` }));
    const [first, ...others] = smallModelOf('7');
    for (const inner of ['_orig_mod.', 'model._orig_mod.']) {
      const tensors = [...behind(`module.${inner}`, [first!]), ...behind('module.', others)];
      expect(await found(await written('partly-wrapped', tensors))).toEqual(
        expected([...behind(inner, [first!]), ...others]),
      );
    }
    const nothing = ['module.module.', 'module.module.a'].map((name) => ({ ...others[0]!, name }));
    expect(await found(await written('wrapped-nothing', nothing))).toEqual(
      expected(nothing.map((tensor) => ({ ...tensor, name: tensor.name.slice('module.'.length) }))),
    );
  });

  test('are left alone where not all have it', async () => {
    const model = smallModelOf('7').map((tensor, i) =>
      i === 0 ? tensor : { ...tensor, name: `module.${tensor.name}` },
    );
    expect(await found(await written('half-wrapped', model))).toEqual(expected(model));
  });
});

describe('names of transformers', () => {
  test.each(['4', '5.0', '5.1', '5.2', '6'] satisfies Version[])(
    'of RWKV-%s become what BlinkDL publishes, in one file and in several',
    async (version) => {
      const model = smallModelOf(version);
      for (const shards of [1, 3]) {
        const directory = scratch(`hf-${version}-${shards}`);
        await writeHuggingFaceDirectory(directory, model, { shards });
        expect(await found(directory)).toEqual(expected(model));
      }
    },
  );
});

describe("names of transformers' RWKV-7", () => {
  // huggingface.co/RWKV/RWKV7-1.5B-20260805 has `rwkv7.`, rwkv-rs/transformers-rwkv writes `model.`.
  test.each(['rwkv7.', 'model.'])(
    "are BlinkDL's with %s in front, in one file and in several",
    async (prefix) => {
      const model = smallModelOf('7');
      const theirs = model.map((tensor) => ({
        ...tensor,
        name: tensor.name === 'head.weight' ? tensor.name : `${prefix}${tensor.name}`,
      }));
      expect(await found(await written(`hf-7-${prefix}`, theirs))).toEqual(expected(model));
      expect(await found(await writtenInShards(`hf-7-${prefix}shards`, theirs))).toEqual(expected(model));
    },
  );

  test('may not be mixed with others', async () => {
    const model = smallModelOf('7');
    const theirs = model.map((tensor) => ({ ...tensor, name: `rwkv7.${tensor.name}` }));
    const mixed = [...theirs, ...model.filter(({ name }) => name === 'blocks.1.att.w1')];
    expect(await refusal(await written('hf-7-mixed', mixed))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      tensor: 'blocks.1.att.w1',
    });
  });
});

describe('names of flash-linear-attention', () => {
  const model = smallModelOf('7');
  const theirs = asFlashLinearAttention(model);

  test('may come with [heads, channels] for vectors of time mixing, as mlx-lm stores them', async () => {
    const byHeads = theirs.map((tensor) =>
      /\.(?:k_k|k_a|g_norm\.weight|g_norm\.bias)$/.test(tensor.name) ? { ...tensor, shape: [3, 2] } : tensor,
    );
    expect(byHeads.filter(({ shape }) => String(shape) === '3,2').length).toBeGreaterThan(8);
    expect(await found(await written('mlx', byHeads))).toEqual(expected(used(model)));
  });

  test('keep the shape of vectors by heads that do not lie in order, for the engine to refuse', async () => {
    const turned = theirs.map((tensor) =>
      tensor.name === 'model.layers.1.attn.k_k' ? { ...tensor, shape: [3, 2], strides: [1, 3] } : tensor,
    );
    const path = scratch('mlx-turned.pth');
    await writePth(path, turned);
    expect((await readTensors(path)).get('blocks.1.att.k_k')?.shape).toEqual([3, 2]);
  });

  test('are those of its models', () => {
    const names = theirs.map(({ name, shape }) => `${name} [${shape.join(', ')}]`);
    // Of huggingface.co/fla-hub/rwkv7-1.5B-world, with the widths of the small model.
    for (const tensor of [
      'model.embeddings.weight [7, 6]',
      'model.layers.0.pre_norm.bias [6]',
      'model.layers.1.attn_norm.weight [6]',
      'model.layers.1.attn.x_r [1, 1, 6]',
      'model.layers.1.attn.k_k [6]',
      'model.layers.1.attn.r_k [3, 2]',
      'model.layers.1.attn.r_proj.weight [6, 6]',
      'model.layers.1.attn.o_proj.weight [6, 6]',
      'model.layers.1.attn.w_lora.lora.0.weight [4, 6]',
      'model.layers.1.attn.w_lora.lora.2.weight [6, 4]',
      'model.layers.1.attn.w_lora.lora.2.bias [6]',
      'model.layers.1.attn.v_lora.lora.0.weight [3, 6]',
      'model.layers.1.attn.g_lora.lora.2.weight [6, 8]',
      'model.layers.1.attn.g_norm.bias [6]',
      'model.layers.1.ffn_norm.weight [6]',
      'model.layers.1.ffn.x_k [6]',
      'model.layers.1.ffn.key.weight [10, 6]',
      'model.norm.bias [6]',
      'lm_head.weight [7, 6]',
    ]) {
      expect(names).toContain(tensor);
    }
  });

  test('become what BlinkDL publishes, in one file and in several', async () => {
    expect(await found(await written('fla', theirs))).toEqual(expected(used(model)));
    expect(await found(await writtenInShards('fla-shards', theirs))).toEqual(expected(used(model)));
  });

  test('of its first version, with all token shifts in one matrix, do so, too', async () => {
    const old = withOneShift(theirs);
    expect(old.find(({ name }) => name === 'model.layers.1.attn.x_x')?.shape).toEqual([6, 6]);
    expect(await found(await written('fla-1', old))).toEqual(expected(used(model)));
    const pth = scratch('fla-1.pth');
    await writePth(pth, old);
    expect(await found(pth)).toEqual(expected(used(model)));
  });

  test('may be without the norm of the embedding', async () => {
    const without = (tensor: { name: string }): boolean => !/pre_norm|ln0/.test(tensor.name);
    const path = await written('fla-0', theirs.filter(without));
    expect(await found(path)).toEqual(expected(used(model).filter(without)));
  });

  test('that come out the same are refused', async () => {
    const twice = [...theirs, ...withOneShift(theirs).filter(({ name }) => name.endsWith('0.attn.x_x'))];
    expect(await refusal(await written('fla-twice', twice))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      tensor: 'blocks.0.att.x_r',
    });
    const mixed = [...theirs, ...model.filter(({ name }) => name === 'blocks.1.att.w1')];
    expect(await refusal(await written('fla-mixed', mixed))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      tensor: 'blocks.1.att.w1',
    });
  });

  test('that are unknown stay as they are, for the engine to refuse', async () => {
    const odd = ['model.layers.1.attn.q_proj.weight', 'model.layers.1.attn.x_x', 'model.mtp.weight'];
    const others = odd.map((name) => ({ name, type: 'f32' as const, shape: [2], data: [1, 2] }));
    const { tensors } = await openTensorDirectory(await written('fla-odd', [...theirs, ...others]));
    expect(tensors.map(({ name }) => name)).toEqual(expect.arrayContaining(odd));
  });
});

describe('names of rwkv-rs/transformers-rwkv', () => {
  const model = smallModelOf('7');
  const theirs = asTransformersRwkv(model);

  test('are those of its models', () => {
    // Of RwkvForCausalLM there, with the widths of the small model; the first layer has no v0, v1 and v2.
    const ofLayer = [
      ...['input_layernorm.weight [6]', 'input_layernorm.bias [6]'],
      ...['post_attention_layernorm.weight [6]', 'post_attention_layernorm.bias [6]'],
      ...['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'].map((name) => `linear_attn.${name} [6]`),
      ...['w0', 'a0', 'k_k', 'k_a'].map((name) => `linear_attn.${name} [6]`),
      ...['linear_attn.w1 [6, 4]', 'linear_attn.w2 [4, 6]'],
      ...['linear_attn.a1 [6, 4]', 'linear_attn.a2 [4, 6]'],
      ...['linear_attn.g1 [6, 8]', 'linear_attn.g2 [8, 6]'],
      'linear_attn.r_k [3, 2]',
      ...['r', 'k', 'v', 'o'].map((letter) => `linear_attn.${letter}_proj.weight [6, 6]`),
      ...['linear_attn.g_norm.weight [6]', 'linear_attn.g_norm.bias [6]'],
      ...['mlp.x_k [6]', 'mlp.key.weight [10, 6]', 'mlp.value.weight [6, 10]'],
    ];
    const later = ['linear_attn.v0 [6]', 'linear_attn.v1 [6, 3]', 'linear_attn.v2 [3, 6]'];
    const outside = [
      ...['model.embed_tokens.weight [7, 6]', 'lm_head.weight [7, 6]'],
      ...['model.embedding_norm.weight [6]', 'model.embedding_norm.bias [6]'],
      ...['model.norm.weight [6]', 'model.norm.bias [6]'],
    ];
    expect(theirs.map(({ name, shape }) => `${name} [${shape.join(', ')}]`).sort()).toEqual(
      [
        ...outside,
        ...ofLayer.map((text) => `model.layers.0.${text}`),
        ...[...ofLayer, ...later].map((text) => `model.layers.1.${text}`),
      ].sort(),
    );
  });

  test('become what BlinkDL publishes, in one file and in several', async () => {
    expect(await found(await written('rs', theirs))).toEqual(expected(used(model)));
    expect(await found(await writtenInShards('rs-shards', theirs))).toEqual(expected(used(model)));
    const pth = scratch('rs.pth');
    await writePth(pth, theirs);
    expect(await found(pth)).toEqual(expected(used(model)));
  });

  test('may not be mixed with others', async () => {
    const mixed = [...theirs, ...model.filter(({ name }) => name === 'blocks.1.att.w1')];
    expect(await refusal(await written('rs-mixed', mixed))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      tensor: 'blocks.1.att.w1',
    });
  });

  test('that are unknown stay as they are, and so does a linear attention without r_k', async () => {
    // Of an earlier form of theirs, and of Qwen3-Next.
    const odd = ['model.layers.1.mlp.up_proj.weight', 'model.layers.1.linear_attn.A_log'];
    const others = odd.map((name) => ({ name, type: 'f32' as const, shape: [2], data: [1, 2] }));
    const { tensors } = await openTensorDirectory(await written('rs-odd', [...theirs, ...others]));
    expect(tensors.map(({ name }) => name)).toEqual(expect.arrayContaining(odd));
    const without = theirs.filter(({ name }) => !name.endsWith('.r_k'));
    const same = await openTensorDirectory(await written('rs-without', without));
    expect(same.tensors.map(({ name }) => name)).toEqual(without.map(({ name }) => name));
  });
});

describe('names of web-rwkv', () => {
  test.each(['4', '5.0', '5.2', '6', '7'] satisfies Version[])(
    'of RWKV-%s become what BlinkDL publishes',
    async (version) => {
      const model = smallModelOf(version);
      expect(await found(await written(`st-${version}`, asWebRwkv(model)))).toEqual(expected(model));
    },
  );

  test('of RWKV-5.1, which has one decay a head, give each of its channels that', async () => {
    const model = smallModelOf('5.1');
    const theirs = asWebRwkv(model);
    const repeated = theirs.find(({ name }) => name === 'blocks.1.att.time_decay')!;
    expect(repeated.shape).toEqual([3, 2]);
    const tensors = await readTensors(await written('st-5.1', theirs));
    expect([...tensors.keys()].sort()).toEqual(model.map(({ name }) => name).sort());
    for (const name of ['time_decay', 'time_faaaa']) {
      const own = model.find((tensor) => tensor.name === `blocks.1.att.${name}`)!;
      const { shape, values } = tensors.get(own.name)!;
      expect(shape).toEqual([3, 2]);
      expect([...values]).toEqual(Array.from(own.data).flatMap((value) => [value, value]));
    }
  });

  test('of RWKV-6 are not taken for those of RWKV-5', async () => {
    const theirs = asWebRwkv(smallModelOf('6'));
    expect(theirs.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'blocks.0.att.time_mix_k',
        'blocks.0.att.time_first',
        'blocks.0.att.gate.weight',
      ]),
    );
    const { tensors } = await openTensorDirectory(await written('st-6-not-5', theirs));
    expect(tensors.filter(({ name }) => /time_mix_|time_first/.test(name))).toEqual([]);
  });

  test.each(['5.2', '6', '7'] satisfies Version[])(
    'of RWKV-%s bring a tuned state that lies as in the original',
    async (version) => {
      const state: WritableTensor = {
        ...{ name: 'blocks.1.att.time_state', type: 'f32', shape: [3, 2, 2] },
        data: Float32Array.from({ length: 12 }, (_, index) => index + 0.5),
      };
      const model = [...smallModelOf(version), state];
      expect(await found(await written(`tuned-${version}`, asWebRwkv(model)))).toEqual(expected(model));
      expect(await found(await written(`tuned-own-${version}`, model))).toEqual(expected(model));
    },
  );

  test('are recognized in safetensors alone', async () => {
    const theirs = asWebRwkv(smallModelOf('7'));
    const pth = scratch('st-7.pth');
    await writePth(pth, theirs);
    expect(await found(pth)).toEqual(expected(theirs));
  });

  test('are none where LoRA matrices lie in both ways: nothing is turned', async () => {
    const mixed = smallModelOf('7').map((tensor) =>
      tensor.name === 'blocks.1.att.a1' ? transposed(tensor) : tensor,
    );
    expect(await found(await written('st-mixed', mixed))).toEqual(expected(mixed));
  });

  test('that come out the same are refused', async () => {
    const theirs = asWebRwkv(smallModelOf('5.2'));
    const own = smallModelOf('5.2').filter(({ name }) => name === 'blocks.1.att.time_faaaa');
    expect(await refusal(await written('st-twice', [...theirs, ...own]))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      tensor: 'blocks.1.att.time_faaaa',
    });
  });
});
