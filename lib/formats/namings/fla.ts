import { contiguousStrides } from '../layout';
import { bytesOfNumbers, type StoredTensor } from '../tensor-directory';
import { elementsOf, transposed } from '../views';
import { asRow, matrix, namesOfLayers, norm, type Names, type Naming, type Place } from './naming';

const outside: ReadonlyMap<string, string> = new Map([
  ['model.embeddings.weight', 'emb.weight'],
  ['model.norm.weight', 'ln_out.weight'],
  ['model.norm.bias', 'ln_out.bias'],
  ['lm_head.weight', 'head.weight'],
]);

const shifts = ['x_r', 'x_w', 'x_k', 'x_v', 'x_a', 'x_g'];

const places: ReadonlyMap<string, Place> = new Map<string, Place>([
  ...norm('pre_norm', 'ln0'),
  ...norm('attn_norm', 'ln1'),
  ...norm('ffn_norm', 'ln2'),
  ...norm('attn.g_norm', 'att.ln_x', flattened),
  matrix('attn.r_proj', 'att.receptance'),
  matrix('attn.k_proj', 'att.key'),
  matrix('attn.v_proj', 'att.value'),
  matrix('attn.o_proj', 'att.output'),
  matrix('ffn.key', 'ffn.key'),
  matrix('ffn.value', 'ffn.value'),
  // The LoRA matrices are linear layers there, [out, in]; BlinkDL has them as [in, out].
  ...['w', 'a', 'v', 'g'].flatMap((letter): [string, Place][] => [
    [`attn.${letter}_lora.lora.0.weight`, { name: `att.${letter}1`, form: transposed }],
    [`attn.${letter}_lora.lora.2.weight`, { name: `att.${letter}2`, form: transposed }],
    [`attn.${letter}_lora.lora.2.bias`, { name: `att.${letter}0`, form: asRow }],
  ]),
  ...shifts.map((name): [string, Place] => [`attn.${name}`, { name: `att.${name}`, form: asRow }]),
  ...['k_k', 'k_a'].map((name): [string, Place] => [
    `attn.${name}`,
    { name: `att.${name}`, form: (tensor) => asRow(flattened(tensor)) },
  ]),
  ['attn.r_k', { name: 'att.r_k' }],
  ['ffn.x_k', { name: 'ffn.x_k', form: asRow }],
]);

const { translate, theirs } = namesOfLayers(outside, places);

const names: Names = {
  translate: (tensor) => {
    const [, layer] = /^model\.layers\.(\d+)\.attn\.x_x$/.exec(tensor.name) ?? [];
    const isStacked = tensor.shape.length === 2 && tensor.shape[0] === shifts.length;
    if (layer === undefined || !isStacked) return translate(tensor);
    return shifts.map((name, index) => ({ ...rowOf(tensor, index), name: `blocks.${layer}.att.${name}` }));
  },
  theirs,
};

/** Of flash-linear-attention's RWKV7ForCausalLM, in which RWKV-7 is published for transformers, and of mlx-lm. */
export const flashLinearAttention: Naming = ({ tensors }) =>
  tensors.some(({ name }) => /^model\.layers\.\d+\.attn\.r_k$/.test(name)) ? names : undefined;

/** The vectors of heads, which mlx-lm has as [heads, channels of a head], as vectors; others as they are. */
function flattened(tensor: StoredTensor): StoredTensor {
  const { shape, strides } = tensor;
  const isWhole = contiguousStrides(shape).every((step, axis) => step === strides[axis]);
  if (shape.length !== 2 || !isWhole) return tensor;
  return { ...tensor, shape: [elementsOf(tensor)], strides: [1] };
}

/** A row of a matrix, as [1, 1, columns]. Files of fla's first version have all token shifts in one matrix. */
function rowOf(tensor: StoredTensor, index: number): StoredTensor {
  const { shape, strides, offset, type } = tensor;
  const begin = offset + bytesOfNumbers(type, index * (strides[0] ?? 0));
  return asRow({ ...tensor, shape: shape.slice(1), strides: strides.slice(1), offset: begin });
}
