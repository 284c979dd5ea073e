import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blockTypes } from '../support/ggml-blocks';
import { ggufMetadata, ggufTensors } from '../support/gguf-models';
import { ggufBytes, type GgmlType, type GgufEntry } from '../support/gguf-writer';
import { temporaryFolder, withModel } from '../support/model';
import { randomModel, randomTokens } from '../support/random-model';
import { describeUnless } from '../support/unless';

// Random models of RWKV-6 and 7, of which nobody's expected logits are at hand, in llama.cpp, which has its own forms
// of the equations and of every type's blocks. Both read the same files.

const vocabulary = 256;
const shape = { layers: 2, embedding: 256, headSize: 64, feedForward: 256, vocabulary };
const ranks = { mix: 32, decay: 64, w: 64, a: 64, v: 32, g: 96 };
const tokens = Array.from(randomTokens(60, vocabulary, 3));

const architectures = ['rwkv6', 'rwkv7'] as const;
/** Blocks are read in one way for both. */
const types: Readonly<Record<(typeof architectures)[number], readonly GgmlType[]>> = {
  rwkv6: ['f32', 'f16', 'bf16', ...blockTypes],
  rwkv7: ['f32', 'f16', 'bf16', 'q8_0'],
};
const cases = architectures.flatMap((architecture) =>
  types[architecture].map((type) => [architecture, type] as const),
);

/** Tokens are bytes, in llama.cpp's escapes. */
const texts = Array.from({ length: vocabulary }, (_, i) => `\\x${i.toString(16).padStart(2, '0')}`);

/** What llama.cpp asks for beside what wkv reads. */
function metadata(architecture: (typeof architectures)[number]): Record<string, GgufEntry> {
  const sizes = {
    ...{ context_length: 1024, 'attention.head_count': 0 },
    ...{ time_mix_extra_dim: ranks.mix, time_decay_extra_dim: ranks.decay },
    ...{ 'attention.decay_lora_rank': ranks.w, 'attention.iclr_lora_rank': ranks.a },
    ...{ 'attention.value_residual_mix_lora_rank': ranks.v, 'attention.gate_lora_rank': ranks.g },
  };
  return {
    ...ggufMetadata(architecture, { ...shape, rank: 0 }),
    ...Object.fromEntries(
      Object.entries(sizes).map(([key, size]) => [`${architecture}.${key}`, ['uint32', size] as const]),
    ),
    'general.name': ['string', 'random weights'],
    'tokenizer.ggml.model': ['string', 'rwkv'],
    'tokenizer.ggml.tokens': ['array', 'string', texts],
  };
}

function probabilitiesOf(logits: Float32Array): Float64Array {
  const largest = Math.max(...logits);
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

/** Kullback-Leibler divergence of `others` from `own`, in nats. */
const divergence = (own: Float64Array, others: readonly number[]): number =>
  own.reduce((sum, probability, i) => sum + probability * Math.log(probability / others[i]!), 0);

/**
 * At most, in nats. llama.cpp multiplies f32 as it is, rounds what it multiplies with f16 and bf16 to those (11 and 8
 * bits), and with blocks to 8 bits and a scale for 32 or 256 numbers. Blocks that are read in another order, or with
 * another scale, were off by 1 to 5.
 */
const limits: Readonly<Record<string, number>> = { f32: 2e-6, f16: 5e-6, bf16: 2e-4 };
const limitOfBlocks = 0.01;

const mainFile = join(__dirname, '../../out/llama.cpp/node_modules/node-llama-cpp/dist/index.js');
const missing =
  !existsSync(mainFile) && 'node-llama-cpp is not in out/llama.cpp, where npm run check puts it on Linux x64';

describeUnless(missing)('Beside llama.cpp', () => {
  const folder = temporaryFolder();
  const pathOf = (architecture: string, type: string): string => join(folder, `${architecture}-${type}.gguf`);
  let others: number[][];

  beforeAll(() => {
    for (const architecture of architectures) {
      const version = architecture === 'rwkv6' ? '6' : '7';
      const made = randomModel({ ...shape, version, ranks, unusedValues: false, type: 'f32', seed: 1 });
      const published = made.map((tensor) => ({ ...tensor, data: Array.from(tensor.data) }));
      for (const matrices of types[architecture]) {
        const bytes = ggufBytes(ggufTensors(architecture, published, { matrices }), {
          metadata: metadata(architecture),
        });
        writeFileSync(pathOf(architecture, matrices), bytes);
      }
    }
    const files = cases.map(([architecture, type]) => pathOf(architecture, type));
    const program = [join(__dirname, 'child-llama-cpp.mjs'), mainFile, JSON.stringify(tokens), ...files];
    const output = execFileSync(process.execPath, program, {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      timeout: 60_000,
    });
    others = JSON.parse(output.trim().split('\n').at(-1)!) as number[][];
  });

  test.each(cases)('an %s with matrices in %s says the same', async (architecture, type) => {
    const own = await withModel(pathOf(architecture, type), { weights: 'f32' }, async (model) => {
      const logits = await model.createSession().evaluate(tokens);
      return probabilitiesOf(logits);
    });
    const theirs = others[cases.findIndex(([a, t]) => a === architecture && t === type)]!;
    expect(theirs).toHaveLength(vocabulary);
    expect(divergence(own, theirs)).toBeLessThan(limits[type] ?? limitOfBlocks);
    // Something is said: with all tokens equally probable, it would be nothing.
    expect(Math.max(...own)).toBeGreaterThan(10 / vocabulary);
  });
});
