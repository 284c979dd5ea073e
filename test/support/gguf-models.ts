import type { GgmlType, GgufEntry, GgufWritable } from './gguf-writer';
import { randomNumbers } from './random-tensors';

/** A tensor with BlinkDL's name and shape. */
export interface Published {
  name: string;
  shape: readonly number[];
  data: number[];
}

interface GgufShape {
  layers: number;
  embedding: number;
  headSize: number;
  feedForward: number;
  vocabulary: number;
  /** Of the LoRA matrices. */
  rank: number;
}

export const ggufShape: GgufShape = {
  ...{ layers: 2, embedding: 32, headSize: 8, feedForward: 48, vocabulary: 7, rank: 4 },
};

/** Multiples of 1/64 between -1 and 1, so that f16 and bf16 hold them exactly. */
function tensorsOf(shapes: readonly (readonly [name: string, ...shape: number[]])[]): Published[] {
  const random = randomNumbers(99);
  return shapes.map(([name, ...shape]) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return { name, shape, data: Array.from({ length: count }, () => Math.round(random() * 128 - 64) / 64) };
  });
}

type Named = readonly [name: string, ...shape: number[]];
const norm = (name: string, size: number): Named[] => [
  [`${name}.weight`, size],
  [`${name}.bias`, size],
];

function published(
  { layers, embedding: d, feedForward: f, vocabulary }: GgufShape,
  ofLayer: (block: string, layer: number) => Named[],
): Published[] {
  return tensorsOf([
    ['emb.weight', vocabulary, d],
    ...norm('blocks.0.ln0', d),
    ...Array.from({ length: layers }, (_, layer): Named[] => {
      const block = `blocks.${layer}.`;
      const square = (name: string): Named => [`${block}${name}.weight`, d, d];
      return [
        ...[...norm(`${block}ln1`, d), ...norm(`${block}ln2`, d), ...norm(`${block}att.ln_x`, d)],
        ...['receptance', 'key', 'value', 'output'].map((name) => square(`att.${name}`)),
        [`${block}ffn.key.weight`, f, d],
        [`${block}ffn.value.weight`, d, f],
        ...ofLayer(block, layer),
      ];
    }).flat(),
    ...norm('ln_out', d),
    ['head.weight', vocabulary, d],
  ]);
}

/** The tensors of an RWKV-6 with random numbers. */
export function rwkv6(shape: GgufShape = ggufShape): Published[] {
  const { embedding: d, headSize: n, rank } = shape;
  return published(shape, (block) => [
    ...['x', 'w', 'k', 'v', 'r', 'g'].map((part): Named => [`${block}att.time_maa_${part}`, 1, 1, d]),
    [`${block}att.time_maa_w1`, d, 5 * rank],
    [`${block}att.time_maa_w2`, 5, rank, d],
    [`${block}att.time_decay`, 1, 1, d],
    [`${block}att.time_decay_w1`, d, rank],
    [`${block}att.time_decay_w2`, rank, d],
    [`${block}att.time_faaaa`, d / n, n],
    [`${block}att.gate.weight`, d, d],
    [`${block}ffn.time_maa_k`, 1, 1, d],
    [`${block}ffn.time_maa_r`, 1, 1, d],
    [`${block}ffn.receptance.weight`, d, d],
  ]);
}

/** The tensors of an RWKV-7; its first layer has no v0, v1 and v2. */
export function rwkv7(shape: GgufShape = ggufShape): Published[] {
  const { embedding: d, headSize: n, rank } = shape;
  return published(shape, (block, layer) => [
    ...['r', 'w', 'k', 'v', 'a', 'g'].map((part): Named => [`${block}att.x_${part}`, 1, 1, d]),
    ...['w', 'a', 'g', ...(layer === 0 ? [] : ['v'])].flatMap((part): Named[] => [
      ...(part === 'g' ? [] : [[`${block}att.${part}0`, 1, 1, d] as const]),
      [`${block}att.${part}1`, d, rank],
      [`${block}att.${part}2`, rank, d],
    ]),
    [`${block}att.k_k`, 1, 1, d],
    [`${block}att.k_a`, 1, 1, d],
    [`${block}att.r_k`, d / n, n],
    [`${block}ffn.x_k`, 1, 1, d],
  ]);
}

/** `[..., a, b]` -> `[..., b, a]`, the numbers moved. */
export function turned({ shape, data }: Published): { shape: number[]; data: number[] } {
  const [rows = 1, columns = 1] = shape.slice(-2);
  const moved = data.map((_, i) => {
    const matrix = Math.floor(i / (rows * columns)) * rows * columns;
    const [column, row] = [Math.floor((i - matrix) / rows), (i - matrix) % rows];
    return data[matrix + row * columns + column]!;
  });
  return { shape: [...shape.slice(0, -2), columns, rows], data: moved };
}

const moduleNames: Readonly<Record<string, string>> = {
  ...{ 'emb.weight': 'token_embd.weight', 'head.weight': 'output.weight' },
  ...{ 'ln_out.weight': 'output_norm.weight', 'ln_out.bias': 'output_norm.bias' },
  ...{ 'blocks.0.ln0.weight': 'token_embd_norm.weight', 'blocks.0.ln0.bias': 'token_embd_norm.bias' },
};
const layerNames: Readonly<Record<string, string>> = {
  ...{
    'att.time_maa_w1': 'time_mix_w1',
    'att.time_maa_w2': 'time_mix_w2',
    'att.time_faaaa': 'time_mix_first',
  },
  ...{ 'att.time_decay': 'time_mix_decay', 'att.time_maa_x': 'time_mix_lerp_x' },
  ...{ 'att.time_decay_w1': 'time_mix_decay_w1', 'att.time_decay_w2': 'time_mix_decay_w2' },
  ...{ 'ffn.time_maa_k': 'channel_mix_lerp_k', 'ffn.time_maa_r': 'channel_mix_lerp_r' },
  ...{ 'ffn.x_k': 'channel_mix_lerp_k' },
};

export interface GgufModelOptions {
  /** Matrices have this type; everything else is f32. */
  matrices?: GgmlType;
  /** The LoRA matrices have this type. */
  small?: GgmlType;
  /** Halve what is added to the residual stream once more after so many layers; 0: never. */
  rescaleEvery?: number;
  /** Whether the vectors of the token shift are stacked, as newer files of RWKV-6 have them. */
  fused?: boolean;
}

/** A model as llama.cpp's converter makes it of BlinkDL's tensors: the tensors of its GGUF. */
export function ggufTensors(
  architecture: 'rwkv6' | 'rwkv7',
  tensors: readonly Published[],
  { matrices = 'f32', small = 'f32', rescaleEvery = 0, fused = true }: GgufModelOptions = {},
): GgufWritable[] {
  const shifts = architecture === 'rwkv6' ? ['w', 'k', 'v', 'r', 'g'] : ['r', 'w', 'k', 'v', 'a', 'g'];
  const prefix = architecture === 'rwkv6' ? 'att.time_maa_' : 'att.x_';
  return tensors.flatMap((tensor): GgufWritable[] => {
    const { name, shape, data } = tensor;
    const own = { name: moduleNames[name] ?? name, type: 'f32' as GgmlType, shape, data };
    const [, layer, rest] = /^blocks\.(\d+)\.(.+)$/.exec(name) ?? [];
    if (moduleNames[name] !== undefined || rest === undefined) {
      return [{ ...own, type: shape.length === 2 ? matrices : 'f32' }];
    }
    const block = `blk.${layer}.`;
    const channels = data.length;
    if (rest.startsWith(prefix) && shifts.includes(rest.slice(prefix.length))) {
      if (!fused) return [{ ...own, name: `${block}time_mix_lerp_${rest.at(-1)}.weight`, shape: [channels] }];
      if (rest !== `${prefix}${shifts[0]}`) return [];
      const parts = shifts.map((part) =>
        tensors.find((each) => each.name === `blocks.${layer}.${prefix}${part}`)!,
      );
      return [
        {
          ...own,
          name: `${block}time_mix_lerp_fused.weight`,
          shape: [parts.length, 1, 1, channels],
          data: parts.flatMap((part) => part.data),
        },
      ];
    }
    if (/^att\.(?:time_(?:maa|decay)_w[12]|[wavg][12])$/.test(rest)) {
      const moved = { ...own, ...turned(tensor), type: small };
      const newName = layerNames[rest] ?? `time_mix_${rest.slice(4)}`;
      return [moved, ...repeated(architecture, layer, rest, moved)].map((each, i) => ({
        ...each,
        name: `${block}${i === 0 ? newName : newName.replace('_a', '_v')}.weight`,
      }));
    }
    const known = layerNames[rest];
    if (known !== undefined) {
      return [
        { ...own, name: `${block}${known}.weight`, shape: rest.endsWith('faaaa') ? shape : [channels] },
      ];
    }
    if (/^att\.(?:[wav]0|k_k|k_a|r_k)$/.test(rest)) {
      const flat = { ...own, shape: [channels] };
      const newName = `time_mix_${rest.slice(4)}`;
      return [flat, ...repeated(architecture, layer, rest, flat)].map((each, i) => ({
        ...each,
        name: `${block}${i === 0 ? newName : newName.replace('_a', '_v')}.weight`,
      }));
    }
    const renamed = rest
      .replace(/^ln1\./, 'attn_norm.')
      .replace(/^ln2\./, 'attn_norm_2.')
      .replace(/^att\.ln_x\./, 'time_mix_ln.')
      .replace(/^att\./, 'time_mix_')
      .replace(/^ffn\./, 'channel_mix_');
    const isAdded = rest === 'att.output.weight' || rest === 'ffn.value.weight';
    const divisor = isAdded && rescaleEvery > 0 ? 2 ** Math.floor(Number(layer) / rescaleEvery) : 1;
    return [
      {
        ...own,
        name: `${block}${renamed}`,
        type: shape.length === 2 ? matrices : 'f32',
        data: data.map((value) => value / divisor),
      },
    ];
  });
}

/** The first layer's a0, a1 and a2 of RWKV-7, which stand in for its v0, v1 and v2. */
function repeated<Kind>(architecture: string, layer: string | undefined, rest: string, tensor: Kind): Kind[] {
  return architecture === 'rwkv7' && layer === '0' && /^att\.a\d$/.test(rest) ? [tensor] : [];
}

/** What the metadata of such a file says. */
export function ggufMetadata(
  architecture: string,
  { embedding, layers, headSize, feedForward }: GgufShape = ggufShape,
  rescaleEvery = 0,
): Record<string, GgufEntry> {
  return {
    'general.architecture': ['string', architecture],
    [`${architecture}.block_count`]: ['uint32', layers],
    [`${architecture}.embedding_length`]: ['uint32', embedding],
    [`${architecture}.feed_forward_length`]: ['uint32', feedForward],
    [`${architecture}.attention.layer_norm_epsilon`]: ['float32', 1e-5],
    [`${architecture}.rescale_every_n_layers`]: ['uint32', rescaleEvery],
    [`${architecture}.wkv.head_size`]: ['uint32', headSize],
  };
}
