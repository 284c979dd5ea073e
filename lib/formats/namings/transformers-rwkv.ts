import { asRow, matrix, namesOfLayers, norm, type Naming, type Place } from './naming';

const outside: ReadonlyMap<string, string> = new Map([
  ['model.embed_tokens.weight', 'emb.weight'],
  ['model.embedding_norm.weight', 'blocks.0.ln0.weight'],
  ['model.embedding_norm.bias', 'blocks.0.ln0.bias'],
  ['model.norm.weight', 'ln_out.weight'],
  ['model.norm.bias', 'ln_out.bias'],
  ['lm_head.weight', 'head.weight'],
]);

const vectors = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g', 'w0', 'a0', 'v0', 'k_k', 'k_a'];
const asTheyAre = ['w1', 'w2', 'a1', 'a2', 'v1', 'v2', 'g1', 'g2', 'r_k'];

const places: ReadonlyMap<string, Place> = new Map<string, Place>([
  ...norm('input_layernorm', 'ln1'),
  ...norm('post_attention_layernorm', 'ln2'),
  ...norm('linear_attn.g_norm', 'att.ln_x'),
  matrix('linear_attn.r_proj', 'att.receptance'),
  matrix('linear_attn.k_proj', 'att.key'),
  matrix('linear_attn.v_proj', 'att.value'),
  matrix('linear_attn.o_proj', 'att.output'),
  matrix('mlp.key', 'ffn.key'),
  matrix('mlp.value', 'ffn.value'),
  ...vectors.map((name): [string, Place] => [`linear_attn.${name}`, { name: `att.${name}`, form: asRow }]),
  ...asTheyAre.map((name): [string, Place] => [`linear_attn.${name}`, { name: `att.${name}` }]),
  ['mlp.x_k', { name: 'ffn.x_k', form: asRow }],
]);

const names = namesOfLayers(outside, places);

/**
 * Of rwkv-rs/transformers-rwkv's RwkvForCausalLM, in which rwkv-rs publishes RWKV-7 G1 (`rwkv-rs/rwkv7-g1-st`). Its
 * temp/rwkv_pth2st.py leaves the LoRA matrices as BlinkDL has them, [in, out], drops dimensions of 1, and v0, v1 and v2 of
 * the first layer. Other models for transformers have a `linear_attn` as well, but none with an `r_k`.
 */
export const transformersRwkv: Naming = ({ tensors }) =>
  tensors.some(({ name }) => /^model\.layers\.\d+\.linear_attn\.r_k$/.test(name)) ? names : undefined;
