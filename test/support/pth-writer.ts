import { writeFile } from 'node:fs/promises';
import type { StoredType } from '../../lib/formats/tensor-directory';
import { encodeFloats } from './float16';
import { call, global, orderedDict, pickle, type Python, tuple } from './pickle-writer';
import { uint64, zipArchive, type ZipFile, type ZipOptions } from './zip-writer';

/** A tensor to be written to a file. */
export interface WritableTensor {
  name: string;
  type: StoredType;
  shape: readonly number[];
  /** The elements in order, rounded to `type` when they are written; with `storage`, those of the storage. */
  data: ArrayLike<number>;
  /** `.pth` only. Tensors with the same key share the storage that the first of them brings. */
  storage?: string;
  /** `.pth` only: index of the first element in its storage; 0 by default. */
  offset?: number;
  /** `.pth` only: elements between neighbours along each dimension; contiguous by default. */
  strides?: readonly number[];
}

export interface PthOptions extends ZipOptions {
  /** `legacy` is torch's container of before 1.6, which is not a zip archive. */
  container?: 'zip' | 'legacy';
  compression?: 'stored' | 'deflated';
  protocol?: 2 | 3 | 4 | 5;
  /** Write `torch.nn.Parameter`s instead of tensors. */
  parameters?: boolean;
  /** Write tensors that have attributes. */
  attributes?: boolean;
  /** The last argument that makes each tensor: its marks. */
  marks?: Python;
  /** Write an OrderedDict, with the attribute `_metadata` that `state_dict()` gives it. */
  ordered?: boolean;
  /** Where the tensors were when they were saved, for example `cuda:0`. */
  location?: string;
  /** The folder in the archive. */
  folder?: string;
  /** Of the entry `byteorder`; none where absent. */
  byteOrder?: string;
  /** Put the tensors under this key of a dict, which has a tensor of its own as well. */
  wrapper?: string;
  /** Put these beside the tensors. */
  extras?: readonly (readonly [Python, Python])[];
}

/** Writes what `torch.save` writes for a dict of tensors. */
export async function writePth(
  path: string,
  tensors: readonly WritableTensor[],
  options: PthOptions = {},
): Promise<void> {
  await writeFile(path, pthBytes(tensors, options));
}

/** The same as bytes. */
export function pthBytes(tensors: readonly WritableTensor[], options: PthOptions = {}): Buffer {
  const storages = new Map<string, WritableTensor>();
  const items = tensors.map((tensor): readonly [Python, Python] => {
    const key = tensor.storage ?? String(storages.size);
    if (!storages.has(key)) storages.set(key, tensor);
    return [tensor.name, pythonTensor(tensor, key, storages.get(key) ?? tensor, options)];
  });
  const dict = pythonDict([...items, ...(options.extras ?? [])], options);
  const object: Python =
    options.wrapper === undefined
      ? dict
      : {
          dict: [
            [options.wrapper, dict],
            ['epoch', 3],
            ['step', items[0]?.[1] ?? 0],
          ],
        };
  const contents = [...storages].map(([key, { type, data }]) => ({
    key,
    elements: data.length,
    bytes: encodeFloats(type, data),
  }));
  return options.container === 'legacy'
    ? legacyContainer(object, contents, options)
    : zipContainer(object, contents, options);
}

interface StorageContent {
  key: string;
  elements: number;
  bytes: Buffer;
}

function pythonTensor(
  tensor: WritableTensor,
  key: string,
  owner: WritableTensor,
  options: PthOptions,
): Python {
  const types = { f32: 'FloatStorage', f16: 'HalfStorage', bf16: 'BFloat16Storage' };
  const id: Python[] = [
    'storage',
    global('torch', types[owner.type]),
    key,
    options.location ?? 'cpu',
    owner.data.length,
  ];
  if (options.container === 'legacy') id.push(null);
  const strides = tensor.strides ?? contiguous(tensor.shape);
  const value = call(
    global('torch._utils', '_rebuild_tensor_v2'),
    { persistent: tuple(...id) },
    tensor.offset ?? 0,
    tuple(...tensor.shape),
    tuple(...strides),
    false,
    orderedDict([]),
    ...(options.marks === undefined ? [] : [options.marks]),
  );
  if (options.attributes) return withAttributes(value);
  if (!options.parameters) return value;
  return call(global('torch._utils', '_rebuild_parameter'), value, true, orderedDict([]));
}

/** As `torch._tensor._rebuild_from_type_v2` is called: its function and the arguments of that by themselves. */
function withAttributes(value: { call: Python; args: readonly Python[] }): Python {
  return call(
    global('torch._tensor', '_rebuild_from_type_v2'),
    value.call,
    global('torch.nn.parameter', 'Parameter'),
    tuple(...value.args),
    { dict: [['lr_scale', 2]] },
  );
}

function pythonDict(items: readonly (readonly [Python, Python])[], { ordered }: PthOptions): Python {
  if (!ordered) return { dict: items };
  const metadata = orderedDict([['', { dict: [['version', 1]] }]]);
  return { build: orderedDict(items), state: { dict: [['_metadata', metadata]] } };
}

function zipContainer(object: Python, contents: readonly StorageContent[], options: PthOptions): Buffer {
  const folder = options.folder ?? 'archive';
  const compression = options.compression ?? 'stored';
  const files: ZipFile[] = [
    { name: `${folder}/data.pkl`, data: pickle(object, options.protocol), compression },
  ];
  if (options.byteOrder !== undefined) {
    files.push({ name: `${folder}/byteorder`, data: Buffer.from(options.byteOrder), compression });
  }
  for (const { key, bytes } of contents)
    files.push({ name: `${folder}/data/${key}`, data: bytes, compression });
  files.push({ name: `${folder}/version`, data: Buffer.from('3\n'), compression });
  return zipArchive(files, { descriptors: true, alignment: 64, ...options });
}

function legacyContainer(
  object: Python,
  contents: readonly StorageContent[],
  { protocol }: PthOptions,
): Buffer {
  const machine: Python = {
    dict: [
      ['protocol_version', 1001],
      ['little_endian', true],
      [
        'type_sizes',
        {
          dict: [
            ['short', 2],
            ['int', 4],
            ['long', 4],
          ],
        },
      ],
    ],
  };
  const pickles = [0x1950a86a20f9469cfc6cn, 1001, machine, object, { list: contents.map(({ key }) => key) }];
  return Buffer.concat([
    ...pickles.map((value) => pickle(value, protocol)),
    ...contents.flatMap(({ elements, bytes }) => [uint64(elements), bytes]),
  ]);
}

function contiguous(shape: readonly number[]): number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
}
