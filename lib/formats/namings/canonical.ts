import { corrupt } from '../failures';
import type { TensorDirectory, TensorEntry } from '../tensor-directory';
import { flashLinearAttention } from './fla';
import { huggingFace } from './hugging-face';
import type { Naming } from './naming';
import { transformersRwkv } from './transformers-rwkv';
import { webRwkv } from './web-rwkv';
import { quoted } from '../../quoted';

/** Every naming but BlinkDL's; the first that a directory is in counts. */
const namings: readonly Naming[] = [huggingFace, flashLinearAttention, transformersRwkv, webRwkv];

/** Metadata of files that have BlinkDL's names, although they may look like another program's. */
export const canonicalMark = { 'wkv.names': 'BlinkDL' } as const;

/**
 * The directory with the names, shapes and strides that BlinkDL gives its tensors. Files that wkv has written have them
 * already.
 *
 * @throws WkvError `ERR_WKV_FORMAT` where two tensors come out with the same name
 */
export function withCanonicalNames(directory: TensorDirectory, path: string): TensorDirectory {
  if (directory.packed !== undefined || directory.metadata['wkv.names'] === canonicalMark['wkv.names']) {
    return directory;
  }
  const wrapper = wrapperOf(directory);
  if (wrapper === '') return translated(directory, path);
  const tensors = directory.tensors.map((tensor) => ({ ...tensor, name: tensor.name.slice(wrapper.length) }));
  const inner = translated({ ...directory, tensors }, path);
  return { ...inner, ownName: (name) => `${wrapper}${inner.ownName?.(name) ?? name}` };
}

const wrappers = /^(?:_forward_module\.|module\.|(?:model\.)?_orig_mod\.)+/;

/** What DeepSpeed, DistributedDataParallel and torch.compile put in front of all names of the model that they wrap. */
function wrapperOf({ tensors }: TensorDirectory): string {
  let wrapper = wrappers.exec(tensors[0]?.name ?? '')?.[0] ?? '';
  for (const { name } of tensors) {
    // What not all have belongs to the names.
    while (wrapper !== '' && !(name.startsWith(wrapper) && name !== wrapper)) {
      wrapper = wrapper.replace(/(?:model\._orig_mod|[^.]+)\.$/, '');
    }
  }
  return wrapper;
}

function translated(directory: TensorDirectory, path: string): TensorDirectory {
  for (const naming of namings) {
    const names = naming(directory);
    if (names === undefined) continue;
    const tensors: TensorEntry[] = [];
    const originals = new Map<string, string>();
    for (const original of directory.tensors) {
      for (const tensor of original.type === 'packed' ? [original] : names.translate(original)) {
        const { name } = tensor;
        if (originals.has(name))
          throw corrupt(path, `two tensors are called ${quoted(name)}`, { tensor: name });
        originals.set(name, original.name);
        tensors.push(tensor);
      }
    }
    return { ...directory, tensors, ownName: (name) => originals.get(name) ?? names.theirs?.(name) ?? name };
  }
  return directory;
}
