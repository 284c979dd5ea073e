// Models of every version as others publish them, loaded and computed with: what they say has to be what the original
// says. That each tensor arrives where it belongs is tested in test/formats.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel } from '../../lib/convert';
import { loadModel } from '../../lib/index';
import { expectFailure, rejection } from '../support/failure';
import { asFlashLinearAttention, asWebRwkv } from '../support/foreign-names';
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
import { allLogits, oracle, row, temporaryFolder, withModel } from './support';

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

test('a tensor that is missing is called as flash-linear-attention calls it', async () => {
  const fla = asFlashLinearAttention(randomModel(shapeOf('7')));
  for (const name of ['model.layers.1.attn.w_lora.lora.0.weight', 'model.layers.2.ffn_norm.bias']) {
    const path = await written(
      'fla-without',
      fla.filter((tensor) => tensor.name !== name),
    );
    expectFailure(await rejection(() => loadModel(path)), { code: 'ERR_WKV_SHAPE', tensor: name });
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
