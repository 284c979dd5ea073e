/**
 * The project's own oracle: RWKV-4 to 7 in float64, one token at a time. One file per architecture, written to be
 * compared with the equations by eye; they share no code with the package, and are as slow as they look.
 */
import type { ReferenceModel, ReferenceOptions, ReferenceTensors } from './common';
import { Rwkv4 } from './rwkv4';
import { Rwkv5 } from './rwkv5';
import { Rwkv6 } from './rwkv6';
import { Rwkv7 } from './rwkv7';

/** The model that these tensors are; each version is told by tensors that no earlier one has. */
export function referenceModel(tensors: ReferenceTensors, options: ReferenceOptions = {}): ReferenceModel {
  const has = (name: string): boolean => tensors.has(`blocks.0.att.${name}`);
  if (has('r_k') || has('k_k')) return new Rwkv7(tensors, options);
  if (has('time_maa_x')) return new Rwkv6(tensors, options);
  if (has('gate.weight') || has('ln_x.weight')) return new Rwkv5(tensors, options); // 5.0, 5.1 or 5.2
  return new Rwkv4(tensors, options);
}
