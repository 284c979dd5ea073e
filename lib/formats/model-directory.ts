import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WkvError } from '../errors';
import { withoutPrototype } from '../options';
import { unpacked } from '../unpacked';
import { aboutAdapters } from './adapters';
import { chatTemplateKey, maxChatTemplate } from './chat-template';
import { corrupt, unsupported } from './failures';
import { findReader, openWeightFile, unknownFile, withSource } from './open-file';
import { isLayerNormEpsilon, layerNormEpsilon } from './limits';
import type { ReadContext } from './reader';
import { cannotOpen, type Source } from './source';
import { type JsonObject, type JsonValue, parseJson } from './strict-json';
import type { TensorDirectory, TensorEntry } from './tensor-directory';
import { quoted } from '../quoted';
import { errorCode, messageOf } from '../thrown';

const settingsBytes = 1 << 22;
const indexBytes = 1 << 24;
const maxShards = 1_000;

/** Files that hold a model in a directory as Hugging Face lays it out, the preferred first. */
const modelFiles = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
];

/** Reads a directory with `config.json` and a model in one or several files. */
export async function openModelDirectory(path: string, context: ReadContext): Promise<TensorDirectory> {
  for (const name of modelFiles) {
    const file = join(path, name);
    if (!(await exists(file))) continue;
    const open = (): Promise<TensorDirectory> => openModelFile(file, context);
    return name.endsWith('.json') ? await open() : await withConfig(path, context, open);
  }
  throw corrupt(path, `the directory holds no model${await hint(path)}`, {
    expected: modelFiles.join(' or '),
  });
}

/** Reads a weight file, or an index of several with the `config.json` beside it. */
export async function openModelFile(path: string, context: ReadContext): Promise<TensorDirectory> {
  return await withSource(path, context, async (source, head) => {
    const reader = findReader(head);
    if (reader !== undefined) return await reader.read(source, context);
    if (!/^\s*\{/.test(head.toString('latin1'))) throw unknownFile(path, head);
    const index = await readIndex(source);
    return await withConfig(dirname(path), context, () => openShards(path, index, context));
  });
}

/** Adds the chat template, and checks what `config.json` says, before the model is opened. */
async function withConfig(
  path: string,
  context: ReadContext,
  open: () => Promise<TensorDirectory>,
): Promise<TensorDirectory> {
  await requireEpsilon(path, context);
  const template = await readTemplate(path, context);
  const directory = await open();
  if (template === undefined) return directory;
  return { ...directory, metadata: withoutPrototype({ ...directory.metadata, [chatTemplateKey]: template }) };
}

/** What an index says: name of a file beside it -> names of the tensors in there. */
type Index = ReadonlyMap<string, ReadonlySet<string>>;

/** Reads the shards that an index names and merges what they say. */
async function openShards(path: string, index: Index, context: ReadContext): Promise<TensorDirectory> {
  const shards: TensorDirectory[] = [];
  const close = async (): Promise<void> => {
    for (const shard of shards) await shard.close();
  };
  try {
    const files: TensorDirectory['files'][number][] = [];
    const tensors: TensorEntry[] = [];
    const metadata = withoutPrototype<Record<string, string>>({});
    for (const [name, expected] of index) {
      const shard = await openShard(path, name, context);
      shards.push(shard);
      checkShard(shard, name, expected, path);
      if (shard.format !== 'pth' && shard.format !== 'safetensors') {
        const kind = shard.packed === undefined ? shard.format : 'packed';
        throw unsupported(path, `the index names ${quoted(name)}, but a ${kind} file is a model of its own`);
      }
      tensors.push(...shard.tensors.map((tensor) => ({ ...tensor, file: tensor.file + files.length })));
      files.push(...shard.files);
      Object.assign(metadata, shard.metadata);
    }
    const [first] = shards;
    if (first === undefined) throw corrupt(path, 'the index names no tensors');
    return { format: first.format, files, tensors, metadata, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openShard(path: string, name: string, context: ReadContext): Promise<TensorDirectory> {
  const file = join(dirname(path), name);
  if (!(await exists(file))) {
    throw corrupt(path, `the file ${quoted(name)} that the index names is missing`, { path: file });
  }
  return await openWeightFile(file, context);
}

/** Index and shard have to agree on what is in the shard. */
function checkShard(shard: TensorDirectory, name: string, expected: ReadonlySet<string>, path: string): void {
  const present = new Set(shard.tensors.map((tensor) => tensor.name));
  for (const tensor of present) {
    if (!expected.has(tensor)) {
      throw corrupt(
        path,
        `${quoted(name)} holds the tensor ${quoted(tensor)}, but the index does not say so`,
        {
          tensor,
        },
      );
    }
  }
  for (const tensor of expected) {
    if (!present.has(tensor)) {
      throw corrupt(path, `the tensor ${quoted(tensor)} is missing from ${quoted(name)}`, { tensor });
    }
  }
}

/** Reads `weight_map` of an index: name of a tensor -> name of a file beside the index. */
async function readIndex(source: Source): Promise<Index> {
  const { path } = source;
  const weightMap = (await readJson(source, indexBytes, 'the index')).get('weight_map');
  if (!(weightMap instanceof Map)) {
    throw corrupt(path, 'is JSON, but not the index of a model in several files', {
      expected: 'an object "weight_map"',
    });
  }
  const index = new Map<string, Set<string>>();
  for (const [tensor, file] of weightMap) {
    if (typeof file !== 'string' || !/^[^/\\\0]+$/.test(file) || file === '.' || file === '..') {
      throw corrupt(
        path,
        `the index says that the tensor ${quoted(tensor)} is in a file of another directory`,
        {
          tensor,
          expected: 'the name of a file',
          found: typeof file === 'string' ? quoted(file) : 'something that is not text',
        },
      );
    }
    index.set(file, (index.get(file) ?? new Set()).add(tensor));
  }
  if (index.size > maxShards) throw corrupt(path, `the index names more than ${maxShards} files`);
  return index;
}

/** Refuses another epsilon than that of all models, if the configuration has one. */
async function requireEpsilon(directory: string, context: ReadContext): Promise<void> {
  const path = join(directory, 'config.json');
  const config = await readSettings(path, context);
  const type = config?.get('model_type');
  if (typeof type !== 'string' || !type.startsWith('rwkv')) return;
  for (const key of ['norm_eps', 'layer_norm_epsilon']) {
    const found = config?.get(key);
    if (typeof found !== 'number' || isLayerNormEpsilon(found)) continue;
    throw unsupported(path, `${key} is ${found}`, {
      expected: String(layerNormEpsilon),
      found: String(found),
    });
  }
}

/** The text of the chat template in a directory, where transformers keeps it now, or kept it; nothing without. */
async function readTemplate(directory: string, context: ReadContext): Promise<string | undefined> {
  const path = join(directory, 'chat_template.jinja');
  if (await exists(path)) {
    return await withSource(path, context, async (source) => {
      const bytes = await readAll(source, maxChatTemplate, 'the chat template');
      return bytes.toString();
    });
  }
  const settings = await readSettings(join(directory, 'tokenizer_config.json'), context);
  const said = settings?.get('chat_template');
  const named = Array.isArray(said) ? said : [];
  const byDefault = named.find((one) => one instanceof Map && one.get('name') === 'default');
  const template = byDefault instanceof Map ? byDefault.get('template') : said;
  return typeof template === 'string' && template.length <= maxChatTemplate ? template : undefined;
}

/** A file of settings beside the model, which is none of its parts: one that cannot be read says nothing. */
async function readSettings(path: string, context: ReadContext): Promise<JsonObject | undefined> {
  const read = (source: Source): Promise<JsonObject> => readJson(source, settingsBytes, 'the file', true);
  return await withSource(path, context, read).catch((error: unknown) => {
    context.signal?.throwIfAborted();
    if (error instanceof WkvError) return undefined;
    throw error;
  });
}

async function readAll(source: Source, maxBytes: number, what: string): Promise<Buffer> {
  const { path, size } = source;
  if (size > maxBytes) {
    throw corrupt(path, `${what} is too large`, {
      expected: `at most ${maxBytes} bytes`,
      found: `${size} bytes`,
    });
  }
  return await source.read(0, size, what);
}

async function readJson(
  source: Source,
  maxBytes: number,
  what: string,
  asPython = false,
): Promise<JsonObject> {
  const { path } = source;
  const bytes = await readAll(source, maxBytes, what);
  let value: JsonValue;
  try {
    value = parseJson(bytes, asPython);
  } catch (cause) {
    throw corrupt(path, `${what} is damaged: ${messageOf(cause)}`, { cause });
  }
  if (!(value instanceof Map)) throw corrupt(path, `${what} is not a JSON object`);
  return value;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(unpacked(path));
    return true;
  } catch (cause) {
    if (errorCode(cause) !== 'ENOENT') throw cannotOpen(path, cause);
    if (await isLink(path)) throw corrupt(path, 'is a link to a file that is not there', { cause });
    return false;
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch {
    return false; // nothing is there
  }
}

/** Says what is there instead: an adapter, or weight files under other names. */
async function hint(path: string): Promise<string> {
  const names = await readdir(unpacked(path)).catch((cause: unknown) => {
    throw cannotOpen(path, cause);
  });
  const files = names.filter((name) => /\.(?:pth|safetensors|gguf|st|pt|bin)$/.test(name)).sort();
  if (files.length === 0) {
    const isCache = names.includes('snapshots');
    return isCache ? ', but a cache of Hugging Face: pass the path of one of its snapshots/*' : '';
  }
  if (files.every((name) => /^adapter_model\.(?:safetensors|bin)$/.test(name))) {
    return `, but an adapter, ${aboutAdapters}`;
  }
  return `; to load one of its files, pass its path (${files.slice(0, 5).map(quoted).join(', ')})`;
}
