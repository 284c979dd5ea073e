import { uint16, uint32, uint64 } from './zip-writer';

/** A Python value, as far as tests need to write it. */
export type Python = null | boolean | number | bigint | string | PythonNode;

type PythonNode =
  | { readonly tuple: readonly Python[] }
  | { readonly list: readonly Python[] }
  | { readonly dict: readonly (readonly [Python, Python])[] }
  | { readonly global: readonly [module: string, name: string] }
  /** callee(*args), and where there are items, result[key] = value. */
  | {
      readonly call: Python;
      readonly args: readonly Python[];
      readonly items?: readonly (readonly [Python, Python])[];
    }
  | { readonly build: Python; readonly state: Python }
  | { readonly persistent: Python }
  /** Opcodes as they are. */
  | { readonly raw: Uint8Array };

export function tuple(...items: readonly Python[]): Python {
  return { tuple: items };
}

export function global(module: string, name: string): Python {
  return { global: [module, name] };
}

export function call(
  callee: Python,
  ...args: readonly Python[]
): { readonly call: Python; readonly args: readonly Python[] } {
  return { call: callee, args };
}

export function orderedDict(items: readonly (readonly [Python, Python])[]): Python {
  return { call: global('collections', 'OrderedDict'), args: [], items };
}

export function raw(...bytes: readonly (number | string | Uint8Array)[]): { readonly raw: Uint8Array } {
  return {
    raw: Buffer.concat(bytes.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part)))),
  };
}

/** One pickle, with text and globals remembered in the memo as Python does it. */
export function pickle(value: Python, protocol: 2 | 3 | 4 | 5 = 2): Buffer {
  const body = Buffer.concat([...new PickleWriter(protocol).opcodes(value), Buffer.from('.')]);
  const frame = protocol >= 4 ? Buffer.concat([Buffer.of(0x95), uint64(body.length)]) : Buffer.alloc(0);
  return Buffer.concat([Buffer.of(0x80, protocol), frame, body]);
}

class PickleWriter {
  private readonly memo = new Map<string, number>();

  constructor(private readonly protocol: number) {}

  *opcodes(value: Python): Generator<Uint8Array> {
    if (value === null) yield Buffer.from('N');
    else if (typeof value === 'boolean') yield Buffer.of(value ? 0x88 : 0x89);
    else if (typeof value === 'number' || typeof value === 'bigint') yield number(value);
    else if (typeof value === 'string') yield* this.remembered(`text ${value}`, () => [this.text(value)]);
    else yield* this.node(value);
  }

  private *node(value: PythonNode): Generator<Uint8Array> {
    if ('raw' in value) yield value.raw;
    else if ('tuple' in value) yield* this.tuple(value.tuple);
    else if ('list' in value) yield* this.all(']', '(', value.list, 'e');
    else if ('dict' in value) yield* this.all('}', '(', value.dict.flat(), 'u');
    else if ('global' in value) yield* this.global(...value.global);
    else if ('call' in value) {
      yield* this.opcodes(value.call);
      yield* this.tuple(value.args);
      yield* this.all('R', '(', (value.items ?? []).flat(), 'u');
    } else if ('build' in value) {
      yield* this.opcodes(value.build);
      yield* this.opcodes(value.state);
      yield Buffer.from('b');
    } else {
      yield* this.opcodes(value.persistent);
      yield Buffer.from('Q');
    }
  }

  private *tuple(items: readonly Python[]): Generator<Uint8Array> {
    if (items.length === 0) yield Buffer.from(')');
    else if (items.length > 3) yield* this.all('', '(', items, 't');
    else {
      for (const item of items) yield* this.opcodes(item);
      yield Buffer.of(0x84 + items.length);
    }
  }

  private *all(before: string, mark: string, items: readonly Python[], after: string): Generator<Uint8Array> {
    yield Buffer.from(before);
    if (items.length === 0) return;
    yield Buffer.from(mark);
    for (const item of items) yield* this.opcodes(item);
    yield Buffer.from(after);
  }

  private *global(module: string, name: string): Generator<Uint8Array> {
    yield* this.remembered(`global ${module} ${name}`, () =>
      this.protocol >= 4
        ? [...this.opcodes(module), ...this.opcodes(name), Buffer.of(0x93)]
        : [Buffer.from(`c${module}\n${name}\n`)],
    );
  }

  private *remembered(key: string, write: () => Uint8Array[]): Generator<Uint8Array> {
    const known = this.memo.get(key);
    if (known !== undefined) {
      yield known < 256 ? Buffer.of(0x68, known) : Buffer.concat([Buffer.from('j'), uint32(known)]);
      return;
    }
    yield* write();
    const index = this.memo.size;
    this.memo.set(key, index);
    if (this.protocol >= 4) yield Buffer.of(0x94);
    else yield index < 256 ? Buffer.of(0x71, index) : Buffer.concat([Buffer.from('r'), uint32(index)]);
  }

  private text(text: string): Buffer {
    const bytes = Buffer.from(text);
    if (this.protocol >= 4 && bytes.length < 256)
      return Buffer.concat([Buffer.of(0x8c, bytes.length), bytes]);
    return Buffer.concat([Buffer.from('X'), uint32(bytes.length), bytes]);
  }
}

function number(value: number | bigint): Buffer {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    const buffer = Buffer.alloc(9, 'G');
    buffer.writeDoubleBE(value, 1);
    return buffer;
  }
  const integer = BigInt(value);
  if (integer >= 0n && integer < 256n) return Buffer.of(0x4b, Number(integer));
  if (integer >= 0n && integer < 65536n) return Buffer.concat([Buffer.from('M'), uint16(Number(integer))]);
  if (integer === BigInt.asIntN(32, integer)) {
    return Buffer.concat([Buffer.from('J'), uint32(Number(BigInt.asUintN(32, integer)))]);
  }
  const bytes: number[] = [];
  for (let length = 5; ; length++) {
    if (integer !== BigInt.asIntN(8 * length, integer)) continue;
    for (let index = 0; index < length; index++) bytes.push(Number((integer >> BigInt(8 * index)) & 0xffn));
    return Buffer.of(0x8a, length, ...bytes);
  }
}
