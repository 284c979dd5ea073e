import { unsupported } from './failures';
import type { TensorDirectory } from './tensor-directory';
import { quoted } from '../quoted';

/**
 * What adapters of RWKV-PEFT have beside, or instead of, a matrix: `lora_A` and `lora_B` (LoRA, PiSSA, whose first ones
 * are `init_lora_A` and so on), `bone`, `disha`; those of PEFT, which RWKV-PEFT writes today, `lora_A.weight`,
 * `bone_block`, `miss_block`. TorchTitan has `lora_a`.
 */
const adapted = /(?:^|\.)(?:(?:init_)?lora_[ab]|bone|disha|bone_block|miss_block)(?:\.|$)/i;

/** Completes a sentence that ends with "an adapter". */
export const aboutAdapters =
  'which was trained beside a base model and is nothing without it: merge it into that model first ' +
  '(RWKV-PEFT has merge/merge.py, merge_bone.py and merge_disha.py for that, PEFT merge_and_unload)';

/**
 * Refuses adapters, and models that one was not merged into.
 *
 * @throws WkvError `ERR_WKV_UNSUPPORTED`
 */
export function refuseAdapters({ tensors }: TensorDirectory, path: string): void {
  const found = tensors.find(({ name }) => adapted.test(name));
  if (found === undefined) return;
  throw unsupported(path, `the tensor ${quoted(found.name)} is of an adapter, ${aboutAdapters}`, {
    ...{ tensor: found.name, expected: 'the tensors of a model', found: 'an adapter' },
  });
}
