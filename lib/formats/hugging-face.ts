/**
 * Names that Hugging Face's transformers gives to weights of RWKV-4 and RWKV-5, as BlinkDL calls them. Both
 * generations are named alike; a generation that is not needs its own table here.
 */
const modules: ReadonlyMap<string, string> = new Map([
  ['embeddings', 'emb'],
  ['pre_ln', 'ln0'],
  ['attention', 'att'],
  ['feed_forward', 'ffn'],
  ['time_mix_key', 'time_mix_k'],
  ['time_mix_value', 'time_mix_v'],
  ['time_mix_receptance', 'time_mix_r'],
  ['time_mix_gate', 'time_mix_g'],
]);

const prefix = 'rwkv.';

/** Whether a list of names is transformers': everything but the head begins with `rwkv.` there. */
export function areHuggingFaceNames(names: readonly string[]): boolean {
  return names.some((name) => name.startsWith(`${prefix}blocks.`));
}

/** `rwkv.blocks.0.attention.time_mix_key` -> `blocks.0.att.time_mix_k`; names of other models stay as they are. */
export function canonicalName(name: string): string {
  if (!name.startsWith(prefix)) return name;
  return name
    .slice(prefix.length)
    .split('.')
    .map((part) => modules.get(part) ?? part)
    .join('.');
}
