import type { StoredTensor, TensorEntry } from '../tensor-directory';
import { transposed } from '../views';
import type { Naming, Translation } from './naming';

const matricesOfVersion6 = /\.(?:time_maa_w[12]|time_decay_w[12]|time_state)$/;
const loraOfVersion7 = /\.att\.[wavg]([12])$/;

const version5: Translation = (tensor) => {
  const name = tensor.name.replace(/\.time_first$/, '.time_faaaa');
  return [{ ...(name.endsWith('.time_state') ? transposed(tensor) : tensor), name }];
};

const version6: Translation = (tensor) => {
  const name = tensor.name.replace(/\.time_first$/, '.time_faaaa').replace('.time_mix_', '.time_maa_');
  return [{ ...(matricesOfVersion6.test(name) ? transposed(tensor) : tensor), name }];
};

const version7: Translation = (tensor) => {
  const isTransposed = loraOfVersion7.test(tensor.name) || tensor.name.endsWith('.time_state');
  return [isTransposed ? transposed(tensor) : tensor];
};

/**
 * Of the `.st` files of web-rwkv and ai00, as their convert_safetensors.py writes them. RWKV-4 has BlinkDL's names
 * there. RWKV-5 has `time_first` beside a gate, where BlinkDL says `time_faaaa` (his `time_first` is older than gates,
 * and another number), RWKV-6 `time_mix_x` for `time_maa_x`. RWKV-7 has the same names, but its LoRA matrices are
 * transposed, as those of RWKV-6 are, and tuned states of all three.
 */
export const webRwkv: Naming = ({ format, tensors }) => {
  if (format !== 'safetensors') return undefined;
  const names = new Set(tensors.map(({ name }) => name));
  const has = (part: string): boolean => names.has(`blocks.0.att.${part}`);
  if (has('time_mix_x')) return { translate: version6 };
  if (has('gate.weight') && has('time_first')) return { translate: version5 };
  return has('r_k') && areTransposed(tensors) ? { translate: version7 } : undefined;
};

/** Whether the LoRA matrices are [out, in]. Square ones don't tell; where all are square, they are BlinkDL's. */
function areTransposed(tensors: readonly TensorEntry[]): boolean {
  const embedding = tensors.find(({ name }) => name === 'emb.weight')?.shape[1];
  const lora = tensors.filter(({ shape: [rows, columns] }) => rows !== columns).filter(isLora);
  return lora.length > 0 && lora.every((tensor) => tensor.shape[isInner(tensor) ? 1 : 0] === embedding);
}

function isLora({ name, shape }: TensorEntry): boolean {
  return loraOfVersion7.test(name) && shape.length === 2;
}

/** Whether it is the first of the two, which comes from the embedding's width. */
function isInner({ name }: Pick<StoredTensor, 'name'>): boolean {
  return loraOfVersion7.exec(name)?.[1] === '1';
}
