import { corrupt, unsupported } from './failures';
import type { PickleWorld } from './pickle-machine';
import {
  describeValue,
  PickleDict,
  PickleFunction,
  PickleList,
  PickleObject,
  PickleTuple,
  type PickleValue,
} from './pickle-values';
import type { StoredType } from './tensor-directory';
import { quoted, shortened } from '../quoted';

/** The class of a storage, which says how its elements are written. */
class StorageType extends PickleObject {
  constructor(
    readonly description: string,
    /** Torch's name of the data type. */
    readonly dtype: string,
    readonly bytes: number,
    /** Absent where weights of that type are not supported. */
    readonly stored?: StoredType,
  ) {
    super();
  }
}

/** A run of elements of one type; several tensors may lie in it. */
export class Storage extends PickleObject {
  readonly description = 'a storage';
  constructor(
    readonly key: string,
    readonly type: StorageType,
    /** Elements that the file holds under `key`. */
    readonly elements: number,
    /** The part of them that this storage is: old files have storages that are views of others. */
    readonly viewOffset: number,
    readonly viewElements: number,
  ) {
    super();
  }
}

/** A tensor as the pickle describes it; `collectTensors` says whether it lies within its storage. */
export class TorchTensor extends PickleObject {
  readonly description = 'a tensor';
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly PickleValue[],
    readonly strides: readonly PickleValue[],
    /** What says that its numbers are to be negated, or conjugated, when they are read: `neg` or `conj`. */
    readonly marks: readonly string[],
  ) {
    super();
  }
}

/** A value that has nothing to do with weights, such as the device a tensor was on. */
class Irrelevant extends PickleObject {
  constructor(readonly description: string) {
    super();
  }
}

/** The most items that OrderedDicts are made of; those of RWKV-5 7B have about 1,000. */
const maxItems = 1_000_000;

/** Torch has two. */
const maxMarks = 16;

/** [class, dtype, bytes of an element, type here] */
const storageTypes: readonly (readonly [string, string, number, StoredType?])[] = [
  ['FloatStorage', 'float32', 4, 'f32'],
  ['HalfStorage', 'float16', 2, 'f16'],
  ['BFloat16Storage', 'bfloat16', 2, 'bf16'],
  ['DoubleStorage', 'float64', 8],
  ['LongStorage', 'int64', 8],
  ['IntStorage', 'int32', 4],
  ['ShortStorage', 'int16', 2],
  ['CharStorage', 'int8', 1],
  ['ByteStorage', 'uint8', 1],
  ['BoolStorage', 'bool', 1],
  ['ComplexFloatStorage', 'complex64', 8],
  ['ComplexDoubleStorage', 'complex128', 16],
];

/** The classes of tensors, all of which are the same here. */
const tensorTypes: readonly string[] = [
  'torch.Tensor',
  'torch.nn.parameter.Parameter',
  'torch.nn.parameter.Buffer',
];

/** Types as values: settings beside the weights. */
const dtypes: readonly string[] = [
  ...storageTypes.map(([, dtype]) => dtype),
  ...['complex32', 'uint16', 'uint32', 'uint64'],
  ...['float8_e4m3fn', 'float8_e4m3fnuz', 'float8_e5m2', 'float8_e5m2fnuz'],
];

/** The few globals and persistent ids that a file of tensors needs. */
export class TorchWorld implements PickleWorld {
  /** Every storage that the pickle mentions, by key. */
  readonly storages = new Map<string, Storage>();
  /** How many items all OrderedDicts were made of. */
  private items = 0;
  private readonly globals: ReadonlyMap<string, PickleValue>;

  constructor(private readonly path: string) {
    this.globals = this.createGlobals();
  }

  global(module: string, name: string): PickleValue {
    const known = this.globals.get(`${module}.${name}`);
    if (known === undefined) {
      throw unsupported(
        this.path,
        `the pickle asks for ${quoted(`${module}.${name}`)}, which loading weights does not need; ` +
          'nothing of it was executed',
        { found: shortened(`${module}.${name}`) },
      );
    }
    return known;
  }

  /** `('storage', type, key, location, elements)`, in old files with `(key, offset, elements) | None` of a view. */
  persistent(id: PickleValue): PickleValue {
    const [tag, type, key, location, elements, view] = id instanceof PickleTuple ? id.items : [];
    if (
      !(id instanceof PickleTuple) ||
      (id.items.length !== 5 && id.items.length !== 6) ||
      tag !== 'storage' ||
      !(type instanceof StorageType) ||
      typeof key !== 'string' ||
      typeof location !== 'string' ||
      !isCount(elements)
    ) {
      throw this.corrupt('refers to a storage in a way that torch does not');
    }
    const known = this.storages.get(key);
    if (known !== undefined && (known.type !== type || known.elements !== elements)) {
      throw this.corrupt(`describes the storage ${quoted(key)} in two ways`);
    }
    const whole = known ?? new Storage(key, type, elements, 0, elements);
    this.storages.set(key, whole);
    return view === undefined || view === null ? whole : this.viewOf(whole, view);
  }

  private viewOf(whole: Storage, view: PickleValue): Storage {
    const [, offset, elements] = view instanceof PickleTuple ? view.items : [];
    if (!isCount(offset) || !isCount(elements) || offset + elements > whole.elements) {
      throw this.corrupt(`has a view that does not lie within the storage ${quoted(whole.key)}`);
    }
    return new Storage(whole.key, whole.type, whole.elements, offset, elements);
  }

  private createGlobals(): ReadonlyMap<string, PickleValue> {
    const globals = new Map<string, PickleValue>();
    for (const [name, dtype, bytes, stored] of storageTypes) {
      const type = new StorageType(`torch.${name}`, dtype, bytes, stored);
      globals.set(`torch.${name}`, type);
      globals.set(`torch.cuda.${name}`, type);
    }
    const add = (name: string, call: (args: readonly PickleValue[]) => PickleValue): void => {
      globals.set(name, new PickleFunction(name, call));
    };
    add('collections.OrderedDict', (args) => this.orderedDict(args));
    add('torch.Size', (args) => this.size(args));
    add('torch.device', () => new Irrelevant('torch.device'));
    add('torch._utils._rebuild_tensor', (args) => this.tensor(args, 4, 4));
    add('torch._utils._rebuild_tensor_v2', (args) => this.tensor(args, 6, 7));
    add('torch._utils._rebuild_parameter', (args) => this.parameter(args, 3));
    add('torch._utils._rebuild_parameter_with_state', (args) => this.parameter(args, 4));
    add('torch._tensor._rebuild_from_type_v2', (args) => this.typed(args));
    for (const name of tensorTypes) globals.set(name, new Irrelevant(name));
    for (const name of dtypes) globals.set(`torch.${name}`, new Irrelevant(`torch.${name}`));
    // Settings beside the weights have them.
    for (const name of ['builtins.set', '__builtin__.set']) add(name, () => new Irrelevant('a set'));
    return globals;
  }

  /** `OrderedDict()`, or `OrderedDict([[key, value], ...])` as Python 2 wrote it. */
  private orderedDict(args: readonly PickleValue[]): PickleValue {
    const dict = new PickleDict();
    const [items] = args;
    if (items === undefined) return dict;
    if (args.length !== 1 || !(items instanceof PickleList))
      throw this.corrupt('makes an OrderedDict of something else than a list of pairs');
    // One list, which the memo has, may be copied by every few bytes.
    this.items += items.items.length;
    if (this.items > maxItems) throw this.corrupt(`has OrderedDicts of more than ${maxItems} items in all`);
    for (const item of items.items) {
      const pair = item instanceof PickleList || item instanceof PickleTuple ? item.items : [];
      const [key, value] = pair;
      if (pair.length !== 2 || typeof key !== 'string' || value === undefined || dict.entries.has(key)) {
        throw this.corrupt('makes an OrderedDict of something else than pairs of different names and values');
      }
      dict.entries.set(key, value);
    }
    return dict;
  }

  private size(args: readonly PickleValue[]): PickleValue {
    const [sizes] = args;
    if (args.length !== 1 || !(sizes instanceof PickleTuple))
      throw this.corrupt('makes a torch.Size of something else than a tuple');
    return sizes;
  }

  /** `(storage, offset, size, stride, requires_grad, backward_hooks, metadata)`, the first four checked. */
  private tensor(args: readonly PickleValue[], least: number, most: number): PickleValue {
    const [storage, offset, shape, strides] = args;
    if (
      args.length < least ||
      args.length > most ||
      !(storage instanceof Storage) ||
      !isCount(offset) ||
      !(shape instanceof PickleTuple) ||
      !(strides instanceof PickleTuple)
    ) {
      throw this.corrupt('makes a tensor of something else than a storage, an offset, a size and strides');
    }
    return new TorchTensor(storage, offset, shape.items, strides.items, this.marks(args[6]));
  }

  /** The marks that are set of `{'neg': True, 'conj': False}`. */
  private marks(metadata: PickleValue | undefined): string[] {
    if (metadata === undefined || metadata === null) return [];
    if (!(metadata instanceof PickleDict))
      throw this.corrupt('marks a tensor with something else than a dict');
    // One dict, which the memo has, may be the marks of every few bytes.
    if (metadata.entries.size > maxMarks) throw this.corrupt(`has a tensor of more than ${maxMarks} marks`);
    const isSet = [...metadata.entries].filter(([, value]) => value !== false);
    return isSet.map(([mark]) => (typeof mark === 'string' ? mark : describeValue(mark)));
  }

  /** `(function, type, arguments of the function, attributes)`: a tensor that has attributes, or is of a class. */
  private typed(args: readonly PickleValue[]): PickleValue {
    const [make, type, made] = args;
    if (
      args.length !== 4 ||
      !(make instanceof PickleFunction) ||
      // Not this function again: that could go on for ever.
      !make.name.startsWith('torch._utils._rebuild_') ||
      !(type instanceof Irrelevant && tensorTypes.includes(type.description)) ||
      !(made instanceof PickleTuple)
    ) {
      throw this.corrupt('makes a tensor of a class that is none');
    }
    return make.call(made.items);
  }

  private parameter(args: readonly PickleValue[], count: number): PickleValue {
    const [tensor] = args;
    if (args.length !== count || !(tensor instanceof TorchTensor)) {
      throw this.corrupt('makes a parameter of something that is not a tensor');
    }
    return tensor;
  }

  private corrupt(problem: string): Error {
    return corrupt(this.path, `the pickle ${problem}`);
  }
}

/** Whether a value is an integer from 0 to 2^53 - 1. */
export function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
