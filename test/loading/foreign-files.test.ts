// Models of every version as others publish them, loaded and computed with: what they say has to be what the original
// says. That each tensor arrives where it belongs is tested in test/formats.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel } from '../../lib/convert';
import { loadModel, type LoadOptions } from '../../lib/index';
import { expectFailure, rejection } from '../support/failure';
import { asFlashLinearAttention, asTransformersRwkv, asWebRwkv } from '../support/foreign-names';
import type { WritableTensor } from '../support/pth-writer';
import { ggufMetadata, ggufTensors, type GgufModelOptions } from '../support/gguf-models';
import { ggufBytes } from '../support/gguf-writer';
import { largestDifference, sameBits } from '../support/compare';
import {
  randomModel,
  randomTokens,
  type RandomModelShape,
  type RandomTensor,
  type Version,
} from '../support/random-model';
import { huggingFaceName, writeSafetensors } from '../support/safetensors-writer';
import { allLogits, oracle, row, temporaryFolder, withModel } from '../support/model';

const folder = temporaryFolder();
const tokens = randomTokens(20, 70, 3);

/** f16 everywhere, so that every file holds the same numbers; ranks that differ from each other and from the width. */
const shapeOf = (version: Version, others: Partial<RandomModelShape> = {}): RandomModelShape => ({
  ...{
    version,
    layers: 3,
    embedding: 64,
    headSize: 16,
    feedForward: 96,
    vocabulary: 70,
    type: 'f16',
    seed: 5,
  },
  ...others,
});

async function check(path: string, tensors: readonly RandomTensor[]): Promise<void> {
  const { logits, state } = oracle(tensors, tokens);
  await withModel(path, { weights: 'f32' }, async (model) => {
    const session = model.createSession();
    const found = await allLogits(session, tokens);
    logits.forEach((expected, i) => {
      expect(largestDifference(row(found, i, 70), expected)).toBeLessThanOrEqual(1e-4);
    });
    expect(largestDifference(session.state.values(), state)).toBeLessThanOrEqual(1e-4);
  });
}

async function written(name: string, tensors: Parameters<typeof writeSafetensors>[1]): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  await writeSafetensors(path, tensors);
  return path;
}

test.each(['4', '5.0', '5.1', '5.2', '6'] as const)("RWKV-%s under Hugging Face's names", async (version) => {
  const tensors = randomModel(shapeOf(version));
  const renamed = tensors.map((tensor) => ({ ...tensor, name: huggingFaceName(tensor.name) }));
  await check(await written(`hf-${version}`, renamed), tensors);
});

test("RWKV-7 under transformers' names", async () => {
  const tensors = randomModel(shapeOf('7'));
  const renamed = tensors.map((tensor) => ({
    ...tensor,
    name: tensor.name === 'head.weight' ? tensor.name : `rwkv7.${tensor.name}`,
  }));
  await check(await written('hf-7', renamed), tensors);
});

test("RWKV-7 under flash-linear-attention's names", async () => {
  const tensors = randomModel(shapeOf('7'));
  await check(await written('fla', asFlashLinearAttention(tensors)), tensors);
});

describe("RWKV-7 under the names of rwkv-rs' fork of transformers", () => {
  const tensors = randomModel(shapeOf('7', { type: 'bf16', unusedValues: false }));
  const theirs = asTransformersRwkv(tensors);

  test('says what the original says', async () => {
    await check(await written('rs', theirs), tensors);
  });

  test.each(['f32', 'bf16', 'int8', 'int4'] as const)(
    'is the original to the bit, as %s',
    async (weights) => {
      const folderOfTheirs = join(folder, `rs-${weights}`);
      mkdirSync(folderOfTheirs);
      await writeSafetensors(join(folderOfTheirs, 'model.safetensors'), theirs, {
        metadata: { format: 'pt' },
      });
      // As much of it as matters to a reader: RwkvConfig there.
      const config = {
        model_type: 'rwkv',
        architectures: ['RwkvForCausalLM'],
        architecture_version: 'rwkv7',
      };
      writeFileSync(
        join(folderOfTheirs, 'config.json'),
        JSON.stringify({ ...config, tie_word_embeddings: false, hidden_size: 64, wkv_mode: 'fp32io16' }),
      );
      const said = async (path: string, options: LoadOptions) =>
        withModel(path, options, async (model) => {
          const session = model.createSession();
          const logits = await allLogits(session, tokens);
          return { logits, state: session.state.values(), info: model.info };
        });
      const originalPath = await written(`original-${weights}`, tensors);
      const original = await said(originalPath, { weights });
      const found = await said(folderOfTheirs, { weights });
      expect(sameBits(found.logits, original.logits)).toBe(true);
      expect(sameBits(found.state, original.state)).toBe(true);
      expect(found.info).toEqual(original.info);
      const converted = async (path: string, name: string): Promise<string> =>
        (await convertModel(path, join(folder, name), { weights })).path;
      const ofTheirs = await converted(folderOfTheirs, `rs-${weights}.safetensors`);
      const ofOriginal = await converted(originalPath, `original-converted-${weights}.safetensors`);
      expect(readFileSync(ofTheirs).equals(readFileSync(ofOriginal))).toBe(true);
      expect(sameBits((await said(ofTheirs, { weights })).logits, original.logits)).toBe(true);
    },
  );

  const small = asTransformersRwkv(
    randomModel(shapeOf('7', { layers: 2, embedding: 16, headSize: 4, feedForward: 20 })),
  );

  /** What loading the tensors is refused with, and a conversion where they are quantized. */
  async function refusals(changed: readonly WritableTensor[]): Promise<unknown[]> {
    const path = await written('rs-changed', changed);
    const output = join(folder, 'rs-output.safetensors');
    return [
      await rejection(() => loadModel(path)),
      await rejection(() => convertModel(path, output, { weights: 'int8' })),
    ];
  }

  const own = /^(?!.*blocks\.)/;

  test('is refused without any one of its tensors, by the name that it has there', async () => {
    for (const { name } of small) {
      for (const error of await refusals(small.filter((tensor) => tensor.name !== name))) {
        expectFailure(error, { code: 'ERR_WKV_SHAPE', tensor: name, message: own });
      }
    }
  });

  test('is refused with a tensor of another shape, by the names that there are', async () => {
    const names = new Set(small.map(({ name }) => name));
    for (const { name, shape } of small) {
      const wider = [...shape.slice(0, -1), shape.at(-1)! + 1];
      const data = new Float32Array(wider.reduce((product, size) => product * size));
      const changed = small.map((tensor) =>
        tensor.name === name ? { ...tensor, shape: wider, data } : tensor,
      );
      for (const error of await refusals(changed)) {
        expectFailure(error, { code: 'ERR_WKV_SHAPE', message: own });
        // A tensor that others are measured by is not the one that does not fit.
        expect(names).toContain((error as { tensor?: unknown }).tensor);
      }
    }
  });

  test('is refused with a tensor that does not belong', async () => {
    const stranger = {
      name: 'model.layers.0.mlp.up_proj.weight',
      type: 'bf16' as const,
      shape: [1],
      data: [1],
    };
    for (const error of await refusals([...small, stranger])) {
      expectFailure(error, { code: 'ERR_WKV_UNSUPPORTED', tensor: stranger.name });
    }
    // An earlier form of these names, of which no published model is known, is not guessed at.
    const earlier = small.map((tensor) => ({
      ...tensor,
      name: tensor.name.replace('mlp.key', 'mlp.up_proj'),
    }));
    for (const error of await refusals(earlier)) {
      expectFailure(error, { code: 'ERR_WKV_SHAPE', tensor: 'model.layers.0.mlp.key.weight' });
    }
  });
});

test('a tensor that is missing is called as the other tensors of its file are', async () => {
  const renamed = (version: Version, rename: (name: string) => string): WritableTensor[] =>
    randomModel(shapeOf(version)).map((tensor) => ({ ...tensor, name: rename(tensor.name) }));
  const behind = (name: string): string => (name === 'head.weight' ? name : `rwkv7.${name}`);
  for (const [tensors, ...names] of [
    [
      asFlashLinearAttention(randomModel(shapeOf('7'))),
      ...['model.layers.1.attn.w_lora.lora.0.weight', 'model.layers.2.ffn_norm.bias', 'lm_head.weight'],
    ],
    [
      renamed('5.2', huggingFaceName),
      ...['rwkv.embeddings.weight', 'rwkv.blocks.0.pre_ln.bias', 'rwkv.blocks.1.attention.time_mix_gate'],
      ...['rwkv.blocks.2.feed_forward.key.weight', 'head.weight'],
    ],
    [renamed('7', behind), 'rwkv7.emb.weight', 'rwkv7.blocks.0.ln0.bias', 'rwkv7.blocks.1.att.key.weight'],
  ] as [WritableTensor[], ...string[]][]) {
    for (const name of names) {
      const path = await written(
        'without',
        tensors.filter((tensor) => tensor.name !== name),
      );
      const message = new RegExp(`the tensor ${name} is missing`);
      expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_SHAPE', tensor: name, message });
    }
  }
});

test.each(['4', '5.1', '5.2', '6', '7'] as const)('RWKV-%s as .st of web-rwkv', async (version) => {
  const timeState = version !== '4';
  const tensors = randomModel(shapeOf(version, { timeState }));
  await check(await written(`st-${version}`, asWebRwkv(tensors)), tensors);
});

function writeGguf(
  name: string,
  architecture: 'rwkv6' | 'rwkv7',
  tensors: readonly RandomTensor[],
  options: GgufModelOptions,
): string {
  const published = tensors.map((tensor) => ({ ...tensor, data: Array.from(tensor.data) }));
  const shape = { layers: 3, embedding: 64, headSize: 16, feedForward: 96, vocabulary: 70, rank: 8 };
  const path = join(folder, `${name}.gguf`);
  const metadata = ggufMetadata(architecture, shape, options.rescaleEvery);
  writeFileSync(path, ggufBytes(ggufTensors(architecture, published, options), { metadata }));
  return path;
}

describe.each(['6', '7'] as const)('RWKV-%s as GGUF of llama.cpp', (version) => {
  const architecture = `rwkv${version}` as const;
  const tensors = randomModel(shapeOf(version, { unusedValues: false }));

  test.each([
    ['in f32', { matrices: 'f32' }],
    ['in f16', { matrices: 'f16', small: 'f16' }],
    ['rescaled after each layer', { matrices: 'f32', rescaleEvery: 1 }],
  ] as const)('%s', async (name, options) => {
    await check(writeGguf(`${version} ${name}`, architecture, tensors, options), tensors);
  });

  if (version === '6') {
    test('with the token shifts apart, as older files have them', async () => {
      await check(writeGguf('6 apart', architecture, tensors, { fused: false }), tensors);
    });
  }

  test('in blocks is what its numbers are, converted or not', async () => {
    const path = writeGguf(`${version} blocks`, architecture, tensors, { matrices: 'q8_0', small: 'f16' });
    const logitsOf = (file: string): Promise<Float32Array> =>
      withModel(file, { weights: 'f32' }, (model) => allLogits(model.createSession(), tokens));
    const plain = join(folder, `${version} plain.safetensors`);
    await convertModel(path, plain, { weights: 'f32' });
    const found = await logitsOf(path);
    expect(sameBits(found, await logitsOf(plain))).toBe(true);
    // Eight bits of each number: near the original, and not the same.
    const { logits } = oracle(tensors, tokens);
    const worst = Math.max(...logits.map((expected, i) => largestDifference(row(found, i, 70), expected)));
    expect(worst).toBeGreaterThan(1e-3);
    expect(worst).toBeLessThan(1);
  });
});

test('Errors call a tensor as its file does, and nothing else, however short its name is', async () => {
  const tensors = randomModel(shapeOf('5.2')).map((tensor) => ({
    ...tensor,
    name: huggingFaceName(tensor.name),
  }));
  const stranger = { name: 'rwkv.e', type: 'f32', shape: [1], data: [0] } as const;
  const error = await rejection(async () => loadModel(await written('stranger', [...tensors, stranger])));
  expectFailure(error, {
    ...{ code: 'ERR_WKV_UNSUPPORTED', tensor: 'rwkv.e' },
    message: /: the tensor rwkv\.e does not belong to an RWKV 5\.2 model$/,
  });
});
