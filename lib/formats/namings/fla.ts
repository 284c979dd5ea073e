import { bytesOfNumbers, type StoredTensor } from '../tensor-directory';
import { transposed } from '../views';
import { asRow, type Naming } from './naming';

/** What a tensor is called here, and what has to be done to its shape. */
interface Place {
  name: string;
  form?: (tensor: StoredTensor) => StoredTensor;
}

const outsideOfLayers: ReadonlyMap<string, string> = new Map([
  ['model.embeddings.weight', 'emb.weight'],
  ['model.norm.weight', 'ln_out.weight'],
  ['model.norm.bias', 'ln_out.bias'],
  ['lm_head.weight', 'head.weight'],
]);

const norms = { pre_norm: 'ln0', attn_norm: 'ln1', ffn_norm: 'ln2', 'attn.g_norm': 'att.ln_x' };

const matrices = {
  'attn.r_proj': 'att.receptance',
  'attn.k_proj': 'att.key',
  'attn.v_proj': 'att.value',
  'attn.o_proj': 'att.output',
  'ffn.key': 'ffn.key',
  'ffn.value': 'ffn.value',
};

const shifts = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'];

/** What a layer has, without the `model.layers.N.` in front. */
const places: ReadonlyMap<string, Place> = new Map<string, Place>([
  ...Object.entries(norms).flatMap(([theirs, ours]): [string, Place][] => [
    [`${theirs}.weight`, { name: `${ours}.weight` }],
    [`${theirs}.bias`, { name: `${ours}.bias` }],
  ]),
  ...Object.entries(matrices).map(([theirs, ours]): [string, Place] => [
    `${theirs}.weight`,
    { name: `${ours}.weight` },
  ]),
  // The LoRA matrices are linear layers there, [out, in]; BlinkDL has them as [in, out].
  ...['w', 'a', 'v', 'g'].flatMap((letter): [string, Place][] => [
    [`attn.${letter}_lora.lora.0.weight`, { name: `att.${letter}1`, form: transposed }],
    [`attn.${letter}_lora.lora.2.weight`, { name: `att.${letter}2`, form: transposed }],
    [`attn.${letter}_lora.lora.2.bias`, { name: `att.${letter}0`, form: asRow }],
  ]),
  ...[...shifts, 'k_k', 'k_a'].map((name): [string, Place] => [
    `attn.${name}`,
    { name: `att.${name}`, form: asRow },
  ]),
  ['attn.r_k', { name: 'att.r_k' }],
  ['ffn.x_k', { name: 'ffn.x_k', form: asRow }],
]);

/** Of flash-linear-attention's RWKV7ForCausalLM, in which RWKV-7 is published for transformers. */
export const flashLinearAttention: Naming = ({ tensors }) =>
  tensors.some(({ name }) => /^model\.layers\.\d+\.attn\.r_k$/.test(name)) ? translate : undefined;

function translate(tensor: StoredTensor): StoredTensor[] {
  const outside = outsideOfLayers.get(tensor.name);
  if (outside !== undefined) return [{ ...tensor, name: outside }];
  const [, layer, part = ''] = /^model\.layers\.(\d+)\.(.+)$/.exec(tensor.name) ?? [];
  if (part === 'attn.x_x' && tensor.shape.length === 2 && tensor.shape[0] === shifts.length) {
    return shifts.map((name, index) => ({ ...rowOf(tensor, index), name: `blocks.${layer}.att.${name}` }));
  }
  const place = places.get(part);
  if (place === undefined) return [tensor];
  return [{ ...(place.form?.(tensor) ?? tensor), name: `blocks.${layer}.${place.name}` }];
}

/** A row of a matrix, as [1, 1, columns]. Files of fla's first version have all token shifts in one matrix. */
function rowOf(tensor: StoredTensor, index: number): StoredTensor {
  const { shape, strides, offset, type } = tensor;
  const begin = offset + bytesOfNumbers(type, index * (strides[0] ?? 0));
  return asRow({ ...tensor, shape: shape.slice(1), strides: strides.slice(1), offset: begin });
}
