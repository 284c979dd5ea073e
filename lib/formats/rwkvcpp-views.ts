import { corrupt } from './failures';
import { shapeText } from './layout';
import { formOf, type StoredTensor } from './tensor-directory';
import { elementsOf, perChannel, reshaped, separated, transposed } from './views';
import { quoted } from '../quoted';

// rwkv.cpp's tensors have BlinkDL's names; this is what its converter does to them, per generation of RWKV, taken back.
// It drops dimensions of 1 of what is called time_..., and adds one at the end of what has heads.

/** What the tensors of a file say of the model. */
interface RwkvCppModel {
  generation: 4 | 5 | 6 | 7;
  /** Channels of all heads together; 0 for RWKV-4. */
  attention: number;
}

export function modelOf(tensors: readonly StoredTensor[]): RwkvCppModel {
  const find = (name: string): StoredTensor | undefined => tensors.find((tensor) => tensor.name === name);
  const norm = find('blocks.0.att.ln_x.weight');
  const attention = norm === undefined ? 0 : elementsOf(norm);
  if (find('blocks.0.att.k_k') !== undefined) return { generation: 7, attention };
  if (find('blocks.0.att.time_maa_x') !== undefined) return { generation: 6, attention };
  return { generation: norm === undefined ? 4 : 5, attention };
}

/** A tensor of the file as BlinkDL's: one, or several where it has been joined. */
export function rwkvCppViews(tensor: StoredTensor, model: RwkvCppModel, path: string): StoredTensor[] {
  const { name } = tensor;
  const [block, kind] = /^(blocks\.\d+\.)(?:att|ffn)\.(.+)$/.exec(name)?.slice(1) ?? [];
  if (block === undefined || kind === undefined) return [tensor];
  switch (model.generation) {
    case 4:
      if (kind === 'time_decay') return [{ ...tensor, applied: '-exp' }];
      return [kind.startsWith('time_mix_') ? perChannel(tensor, name) : tensor];
    case 5:
      if (kind === 'time_decay') return [{ ...perHead(tensor, model), applied: 'exp(-exp)' }];
      if (kind === 'time_first') return [{ ...perHead(tensor, model), applied: 'exp' }];
      if (kind === 'time_faaaa') return [perHead(tensor, model)];
      return [kind.startsWith('time_mix_') ? perChannel(tensor, name) : tensor];
    case 6:
      if (/^time_(?:maa|decay)_w\d$/.test(kind)) return [transposed(tensor)];
      if (kind === 'time_faaaa') return [perHead(tensor, model)];
      return [kind.startsWith('time_') ? perChannel(tensor, name) : tensor];
    case 7:
      if (kind === 'x_rwkvag') return shifts(tensor, block, path);
      return [/^[wavg][12]$/.test(kind) ? transposed(tensor) : tensor];
  }
}

/** The vectors of the token shift. */
function shifts(tensor: StoredTensor, block: string, path: string): StoredTensor[] {
  const parts = ['r', 'w', 'k', 'v', 'a', 'g'];
  if (elementsOf(tensor) % (parts.length * formOf(tensor.type).numbers) !== 0) {
    throw corrupt(path, `the tensor ${quoted(tensor.name)} has the shape ${shapeText(tensor.shape)}`, {
      tensor: tensor.name,
      expected: `${parts.length} vectors`,
      found: shapeText(tensor.shape),
    });
  }
  return separated(
    tensor,
    parts.map((part) => `${block}att.x_${part}`),
  );
}

/** The numbers of heads, `[heads, head size]`, or `[heads]` where there is one for each. */
function perHead(tensor: StoredTensor, { attention }: RwkvCppModel): StoredTensor {
  const shape = tensor.shape.filter((size, axis) => size !== 1 || axis === 0);
  // Where there is only one head, its dimension is dropped.
  const isOneHead = shape.length === 1 && shape[0] === attention;
  return reshaped(tensor, tensor.name, isOneHead ? [1, ...shape] : shape);
}
