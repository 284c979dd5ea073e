import type { WritableTensor } from './pth-writer';
import { transposed } from './small-models';

// Models with BlinkDL's names as others publish them, by the steps of their conversion scripts.

/** As utils/convert_from_rwkv7.py of flash-linear-attention writes them, but for its folder. */
export function asFlashLinearAttention(tensors: readonly WritableTensor[]): WritableTensor[] {
  const outside: Readonly<Record<string, string>> = {
    'emb.weight': 'model.embeddings.weight',
    'ln_out.weight': 'model.norm.weight',
    'ln_out.bias': 'model.norm.bias',
    'head.weight': 'lm_head.weight',
  };
  const modules: Readonly<Record<string, string>> = {
    ...{ ln0: 'pre_norm', ln1: 'attn_norm', ln2: 'ffn_norm', att: 'attn' },
  };
  const inAttention: Readonly<Record<string, string>> = {
    ...{ receptance: 'r_proj', key: 'k_proj', value: 'v_proj', output: 'o_proj', ln_x: 'g_norm' },
  };
  const lora: Readonly<Record<string, string>> = { '0': '2.bias', '1': '0.weight', '2': '2.weight' };
  return tensors.flatMap((tensor) => {
    const [, layer, module = '', part = '', rest] = tensor.name.split(/^blocks\.|\./);
    if (outside[tensor.name] !== undefined) return [{ ...tensor, name: outside[tensor.name]! }];
    // The first layer has no use for them.
    if (/^blocks\.0\.att\.v[012]$/.test(tensor.name)) return [];
    const isLora = /^[wvag][012]$/.test(part);
    const isMatrix = isLora && !part.endsWith('0');
    const inner = isLora
      ? `${part[0]}_lora.lora.${lora[part[1]!]}`
      : module === 'att'
        ? (inAttention[part] ?? part)
        : part;
    const name = ['model.layers', layer, modules[module] ?? module, inner, rest]
      .filter((text) => text !== undefined)
      .join('.');
    const isVector = tensor.shape.length === 3 && !name.includes('.attn.x_');
    const shape = isVector ? tensor.shape.slice(2) : tensor.shape;
    return [{ ...(isMatrix ? transposed(tensor) : { ...tensor, shape }), name }];
  });
}

/** As fla's first version had them: the token shifts of time mixing in one matrix. */
export function withOneShift(tensors: readonly WritableTensor[]): WritableTensor[] {
  const shifts = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'];
  return tensors.flatMap((tensor) => {
    const [, prefix] = /^(.*\.attn\.)x_r$/.exec(tensor.name) ?? [];
    if (prefix === undefined) return tensor.name.includes('.attn.x_') ? [] : [tensor];
    const rows = shifts.map((name) => tensors.find((other) => other.name === prefix + name)!);
    const shape = [rows.length, tensor.shape.at(-1)!];
    const data = Float32Array.from(rows.flatMap((row) => Array.from(row.data)));
    return [{ ...tensor, name: `${prefix}x_x`, shape, data }];
  });
}

/** As temp/rwkv_pth2st.py of rwkv-rs/transformers-rwkv writes them (huggingface.co/rwkv-rs/rwkv7-g1-st), but for its folder. */
export function asTransformersRwkv(tensors: readonly WritableTensor[]): WritableTensor[] {
  const renamings: readonly (readonly [from: RegExp, to: string])[] = [
    [/^emb\./, 'model.embed_tokens.'],
    [/^head\./, 'lm_head.'],
    [/^ln_out\./, 'model.norm.'],
    [/^blocks\.0\.ln0\./, 'model.embedding_norm.'],
    [/^blocks\./, 'model.layers.'],
    [/\.ln1\./, '.input_layernorm.'],
    [/\.ln2\./, '.post_attention_layernorm.'],
    [/\.att\.receptance\./, '.att.r_proj.'],
    [/\.att\.key\./, '.att.k_proj.'],
    [/\.att\.value\./, '.att.v_proj.'],
    [/\.att\.output\./, '.att.o_proj.'],
    [/\.att\.ln_x\./, '.att.g_norm.'],
    [/\.att\./, '.linear_attn.'],
    [/\.ffn\./, '.mlp.'],
  ];
  return tensors
    .filter(({ name }) => !/^blocks\.0\.att\.v[012]$/.test(name))
    .map((tensor) => ({
      ...tensor,
      name: renamings.reduce((name, [from, to]) => name.replace(from, to), tensor.name),
      shape: tensor.shape.length === 3 ? tensor.shape.slice(2) : tensor.shape,
    }));
}

/** As convert_safetensors.py of ai00 and web-rwkv writes them: f16, and a decay of each head for all its channels. */
export function asWebRwkv(tensors: readonly WritableTensor[]): WritableTensor[] {
  const renamings = [
    ['time_faaaa', 'time_first'],
    ['time_maa', 'time_mix'],
  ] as const;
  const turned = ['time_mix_w1', 'time_mix_w2', 'time_decay_w1', 'time_decay_w2']
    .concat(['w1', 'w2', 'a1', 'a2', 'g1', 'g2', 'v1', 'v2'])
    .concat(['time_state']);
  const hasGate = tensors.some(({ name }) => name.includes('gate.weight'));
  return tensors.map((tensor) => {
    let name = tensor.name;
    for (const [from, to] of renamings) name = name.replace(from, to);
    const repeated =
      hasGate && tensor.shape.length === 1 && /time_decay$|time_faaaa$/.test(tensor.name)
        ? repeatedForChannels(tensor, tensors[0]!.shape[1]!)
        : tensor;
    const result = turned.some((part) => name.includes(part)) ? transposed(repeated) : repeated;
    return { ...result, name: name.toLowerCase(), type: 'f16' };
  });
}

function repeatedForChannels(tensor: WritableTensor, embedding: number): WritableTensor {
  const heads = tensor.shape[0]!;
  const channels = embedding / heads;
  const data = Float32Array.from(
    { length: embedding },
    (_, index) => tensor.data[Math.floor(index / channels)]!,
  );
  return { ...tensor, shape: [heads, channels], data };
}
