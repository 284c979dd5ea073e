import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeFloats } from './float16';
import { type WritableTensor } from './pth-writer';
import { uint64 } from './zip-writer';

interface SafetensorsOptions {
  /** Text pairs of `__metadata__`. */
  metadata?: Readonly<Record<string, string>>;
}

/** Writes a safetensors file with the tensors in the given order. */
export async function writeSafetensors(
  path: string,
  tensors: readonly WritableTensor[],
  options: SafetensorsOptions = {},
): Promise<void> {
  await writeFile(path, safetensorsBytes(tensors, options));
}

/** The same as bytes. */
export function safetensorsBytes(
  tensors: readonly WritableTensor[],
  { metadata }: SafetensorsOptions = {},
): Buffer {
  const header = new Map<string, unknown>(metadata === undefined ? [] : [['__metadata__', metadata]]);
  const contents: Buffer[] = [];
  let position = 0;
  for (const { name, type, shape, data } of tensors) {
    const bytes = encodeFloats(type, data);
    header.set(name, { dtype: type.toUpperCase(), shape, data_offsets: [position, position + bytes.length] });
    contents.push(bytes);
    position += bytes.length;
  }
  return safetensorsContainer(
    `{${[...header].map(([name, info]) => `${JSON.stringify(name)}:${JSON.stringify(info)}`).join(',')}}`,
    Buffer.concat(contents),
  );
}

/** A safetensors file of any header and content; the header is padded with spaces as the format advises. */
export function safetensorsContainer(header: string, content: Uint8Array): Buffer {
  const text = Buffer.from(header);
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  return Buffer.concat([uint64(padded.length), padded, content]);
}

interface HuggingFaceOptions {
  /** Number of files that the tensors are distributed over; with 1 there is no index. */
  shards?: number;
  /** What `config.json` says; without it there is none. */
  config?: Readonly<Record<string, unknown>>;
}

/** Writes tensors with BlinkDL's names as a directory in transformers' layout, with transformers' names. */
export async function writeHuggingFaceDirectory(
  directory: string,
  tensors: readonly WritableTensor[],
  { shards = 1, config }: HuggingFaceOptions = {},
): Promise<void> {
  await mkdir(directory, { recursive: true });
  if (config !== undefined) await writeFile(join(directory, 'config.json'), JSON.stringify(config, null, 2));
  const renamed = tensors.map((tensor) => ({ ...tensor, name: huggingFaceName(tensor.name) }));
  if (shards === 1) {
    await writeSafetensors(join(directory, 'model.safetensors'), renamed, { metadata: { format: 'pt' } });
    return;
  }
  const index = new Map<string, string>();
  const perShard = Math.ceil(renamed.length / shards);
  for (let shard = 0; shard < shards; shard++) {
    const digits = (count: number): string => String(count).padStart(5, '0');
    const file = `model-${digits(shard + 1)}-of-${digits(shards)}.safetensors`;
    const part = renamed.slice(shard * perShard, (shard + 1) * perShard);
    for (const { name } of part) index.set(name, file);
    await writeSafetensors(join(directory, file), part, { metadata: { format: 'pt' } });
  }
  const weightMap = Object.fromEntries(index);
  await writeFile(
    join(directory, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: 0 }, weight_map: weightMap }, null, 2),
  );
}

/** `blocks.0.att.time_mix_k` -> `rwkv.blocks.0.attention.time_mix_key`. */
export function huggingFaceName(name: string): string {
  if (name.startsWith('head.')) return name;
  const long: Readonly<Record<string, string>> = { k: 'key', v: 'value', r: 'receptance', g: 'gate' };
  const renamed = name
    .replace(/^emb\./, 'embeddings.')
    .replace('.ln0.', '.pre_ln.')
    .replace('.att.', '.attention.')
    .replace('.ffn.', '.feed_forward.')
    .replace(/\.time_mix_([kvrg])$/, (_, letter: string) => `.time_mix_${long[letter] ?? letter}`);
  return `rwkv.${renamed}`;
}
