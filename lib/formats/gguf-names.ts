import { corrupt, unsupported } from './failures';
import { shapeText } from './layout';
import type { StoredTensor } from './tensor-directory';
import { elementsOf, perChannel, reshaped, separated, transposed } from './views';
import { quoted } from '../quoted';

// llama.cpp's names and shapes of RWKV-6 and RWKV-7, as BlinkDL has them. What its converter does to each tensor:
// it drops dimensions of 1, transposes the LoRA matrices, stacks the vectors of the token shift, writes r_k in one
// row, and repeats a0, a1 and a2 of the first layer as v0, v1 and v2, which that layer does not use.

/** What has to be known beside the tensors. */
export interface GgufModel {
  architecture: GgufArchitecture;
  headSize: number;
  /** After how many layers the weights of what is added to the residual stream are halved once more; 0: never. */
  rescaleEvery: number;
}

export const ggufArchitectures = ['rwkv6', 'rwkv7'] as const;
export type GgufArchitecture = (typeof ggufArchitectures)[number];

type View = (tensor: StoredTensor, name: string, model: GgufModel, path: string) => StoredTensor[];

const asIs: View = (tensor, name) => [{ ...tensor, name }];
const vector: View = (tensor, name) => [perChannel(tensor, name)];
const transposedView: View = (tensor, name, _, path) => {
  if (tensor.shape.length >= 2) return [{ ...transposed(tensor), name }];
  throw corrupt(path, `the tensor ${quoted(tensor.name)} has the shape ${shapeText(tensor.shape)}`, {
    tensor: tensor.name,
    expected: 'two dimensions or more',
    found: shapeText(tensor.shape),
  });
};

/** Rows of one head each. */
const heads: View = (tensor, name, { headSize }, path) => {
  const channels = elementsOf(tensor);
  if (channels % headSize === 0) return [reshaped(tensor, name, [channels / headSize, headSize])];
  throw corrupt(path, `the tensor ${quoted(tensor.name)} has ${channels} channels for heads of ${headSize}`, {
    tensor: tensor.name,
    expected: `a multiple of ${headSize}`,
    found: String(channels),
  });
};

/** One vector for each of some names, `PREFIX` completed. */
function stacked(...parts: readonly string[]): View {
  return (tensor, name, _, path) => {
    if (tensor.shape[0] === parts.length && tensor.shape.length > 1) {
      return separated(
        tensor,
        parts.map((part) => `${name}${part}`),
      );
    }
    throw corrupt(path, `the tensor ${quoted(tensor.name)} has the shape ${shapeText(tensor.shape)}`, {
      tensor: tensor.name,
      expected: `${parts.length} vectors`,
      found: shapeText(tensor.shape),
    });
  };
}

type Names = ReadonlyMap<string, readonly [name: string, view: View]>;

/** A norm or a matrix keeps `.weight` and `.bias` in its name, a vector has none in BlinkDL's. */
function norm(from: string, to: string): [string, readonly [string, View]][] {
  return ['weight', 'bias'].map((part) => [`${from}.${part}`, [`${to}.${part}`, asIs]]);
}
function matrices(from: string, to: string, names: readonly string[]): [string, readonly [string, View]][] {
  return names.map((name) => [`${from}_${name}.weight`, [`${to}.${name}.weight`, asIs]]);
}
function each(
  from: string,
  to: string,
  names: readonly string[],
  view: View,
): [string, readonly [string, View]][] {
  return names.map((name) => [`${from}_${name}.weight`, [`${to}${name}`, view]]);
}

const outside: Names = new Map([
  ['token_embd.weight', ['emb.weight', asIs]],
  ...norm('token_embd_norm', 'blocks.0.ln0'),
  ...norm('output_norm', 'ln_out'),
  ['output.weight', ['head.weight', asIs]],
]);

const common: readonly [string, readonly [string, View]][] = [
  ...norm('attn_norm', 'ln1'),
  ...norm('attn_norm_2', 'ln2'),
  ...norm('time_mix_ln', 'att.ln_x'),
  ...matrices('time_mix', 'att', ['key', 'value', 'receptance', 'output']),
  ...matrices('channel_mix', 'ffn', ['key', 'value']),
];

const ofLayer: Readonly<Record<GgufArchitecture, Names>> = {
  rwkv6: new Map([
    ...common,
    ...matrices('time_mix', 'att', ['gate']),
    ...matrices('channel_mix', 'ffn', ['receptance']),
    ...each('time_mix_lerp', 'att.time_maa_', ['x', 'w', 'k', 'v', 'r', 'g'], vector),
    ['time_mix_lerp_fused.weight', ['att.time_maa_', stacked('w', 'k', 'v', 'r', 'g')]],
    ...each('time_mix', 'att.time_maa_', ['w1', 'w2'], transposedView),
    ['time_mix_first.weight', ['att.time_faaaa', heads]],
    ['time_mix_decay.weight', ['att.time_decay', vector]],
    ...each('time_mix_decay', 'att.time_decay_', ['w1', 'w2'], transposedView),
    ...each('channel_mix_lerp', 'ffn.time_maa_', ['k', 'r'], vector),
  ]),
  rwkv7: new Map([
    ...common,
    ['time_mix_lerp_fused.weight', ['att.x_', stacked('r', 'w', 'k', 'v', 'a', 'g')]],
    ...each('time_mix', 'att.', ['w0', 'a0', 'v0', 'k_k', 'k_a'], vector),
    ...each('time_mix', 'att.', ['w1', 'w2', 'a1', 'a2', 'v1', 'v2', 'g1', 'g2'], transposedView),
    ['time_mix_r_k.weight', ['att.r_k', heads]],
    ...each('channel_mix_lerp', 'ffn.x_', ['k'], vector),
  ]),
};

/** A tensor of a GGUF file as BlinkDL's: one or several of them, or none where the model does not use it. */
export function ggufViews(tensor: StoredTensor, model: GgufModel, path: string): StoredTensor[] {
  const { architecture, rescaleEvery } = model;
  const [, layerText, rest] = /^blk\.(0|[1-9]\d{0,3})\.(.+)$/.exec(tensor.name) ?? [];
  const known = rest === undefined ? outside.get(tensor.name) : ofLayer[architecture].get(rest);
  if (known === undefined) {
    throw unsupported(path, `the tensor ${quoted(tensor.name)} is none of ${architecture} in GGUF`, {
      tensor: tensor.name,
      expected: `only the tensors of ${architecture}`,
      found: shapeText(tensor.shape),
    });
  }
  const layer = Number(layerText ?? 0);
  const [name, view] = known;
  if (architecture === 'rwkv7' && layer === 0 && /^att\.v\d$/.test(name)) return [];
  const views = view(tensor, rest === undefined ? name : `blocks.${layer}.${name}`, model, path);
  const isRescaled = name === 'att.output.weight' || name === 'ffn.value.weight';
  const halvings = isRescaled && rescaleEvery > 0 ? Math.floor(layer / rescaleEvery) : 0;
  if (halvings > 100) {
    throw corrupt(path, `the tensor ${quoted(tensor.name)} was divided by 2^${halvings}`, {
      tensor: tensor.name,
      expected: 'a power of two that leaves something of the numbers',
    });
  }
  return halvings === 0 ? views : views.map((each) => ({ ...each, scale: 2 ** halvings }));
}
