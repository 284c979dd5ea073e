import type { ElementType } from '../quantized';
import { unsupported } from './failures';
import { chatTemplateEntry } from './chat-template';
import { canonicalMark } from './namings/canonical';
import { withLength } from './packed';
import { storedTypeBytes, type TensorDirectory } from './tensor-directory';
import { elementsOf } from './views';
import { quoted } from '../quoted';

/** Where everything of a plain `.safetensors` file lies. */
interface ElementsLayout {
  /** The file's first bytes, up to the first element. */
  header: Buffer;
  /** Byte offsets in the file. */
  places: Record<string, number>;
  /** The file's size in bytes. */
  bytes: number;
}

/** Whatever a layer has: versions differ in that, and there will be others. */
const names = /^(?:emb|head|ln_out|blocks\.\d+)\./;

/**
 * Lays out a `.safetensors` file of a model's tensors, all of one type, in the order of names: the same weights (and
 * chat template) give the same file, whatever held them.
 *
 * @throws WkvError `ERR_WKV_UNSUPPORTED` for a tensor that no RWKV model has, `ERR_WKV_FORMAT` for a chat template that is
 *   too long
 */
export function layOutElements(type: ElementType, directory: TensorDirectory): ElementsLayout {
  const { tensors, files, ownName = (name: string) => name } = directory;
  const entries = new Map<string, unknown>();
  const begins: [string, number][] = [];
  let end = 0;
  for (const { name, shape } of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!names.test(name)) {
      const own = ownName(name);
      throw unsupported(files[0]?.path ?? '', `this is no RWKV model: it has a tensor ${quoted(own)}`, {
        ...{ tensor: own, expected: 'the tensors of an RWKV model', found: own },
      });
    }
    const begin = end;
    end += elementsOf({ shape }) * storedTypeBytes[type];
    entries.set(name, { dtype: type.toUpperCase(), shape, data_offsets: [begin, end] });
    begins.push([name, begin]);
  }
  const said = { format: 'pt', ...canonicalMark, ...chatTemplateEntry(directory) };
  const header = withLength(JSON.stringify({ __metadata__: said, ...Object.fromEntries(entries) }));
  return {
    header,
    places: Object.fromEntries(begins.map(([name, begin]) => [name, header.length + begin])),
    bytes: header.length + end,
  };
}
