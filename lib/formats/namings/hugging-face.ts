import type { Naming } from './naming';

/**
 * Names that transformers gives to the weights of RWKV-4, RWKV-5 and RWKV-6, as BlinkDL calls them. What RWKV-6 has
 * anew (`time_maa_x`, `time_decay_w1` and so on) is called alike.
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

const theirModules: ReadonlyMap<string, string> = new Map(
  [...modules].map(([theirs, ours]) => [ours, theirs]),
);

/**
 * Of transformers: everything but the head has `rwkv.` in front there, and with RWKV-7, whose names are BlinkDL's, `rwkv7.`
 * (transformers' models/rwkv7; the files RWKV/RWKV7-*) or `model.` (rwkv-rs/transformers-rwkv).
 */
export const huggingFace: Naming = ({ tensors }) => {
  const [prefix] = tensors.flatMap(({ name }) => /^(?:rwkv7?|model)\.(?=blocks\.)/.exec(name) ?? []);
  if (prefix === undefined) return undefined;
  return {
    translate: (tensor) => [{ ...tensor, name: canonicalName(tensor.name, prefix) }],
    theirs: (name) => {
      if (name.startsWith('head.')) return name;
      return `${prefix}${prefix === 'rwkv.' ? renamed(name, theirModules) : name}`;
    },
  };
};

/** `rwkv.blocks.0.attention.time_mix_key` -> `blocks.0.att.time_mix_k`. */
function canonicalName(name: string, prefix: string): string {
  if (!name.startsWith(prefix) || name === prefix) return name;
  return renamed(name.slice(prefix.length), modules);
}

function renamed(name: string, parts: ReadonlyMap<string, string>): string {
  return name
    .split('.')
    .map((part) => parts.get(part) ?? part)
    .join('.');
}
