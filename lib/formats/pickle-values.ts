/**
 * What a pickle can hold here. Containers are built by reference exactly as in Python, so a pickle can make
 * values that contain themselves: nothing may walk through them without a bound.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleFunction
  | PickleObject;

export class PickleTuple {
  readonly kind = 'tuple';
  constructor(readonly items: readonly PickleValue[]) {}
}

export class PickleList {
  readonly kind = 'list';
  readonly items: PickleValue[] = [];
}

/** A dict or an OrderedDict. */
export class PickleDict {
  readonly kind = 'dict';
  readonly entries = new Map<PickleValue, PickleValue>();
}

/** A global that may be called with a tuple of arguments. */
export class PickleFunction {
  readonly kind = 'function';
  constructor(
    readonly name: string,
    readonly call: (args: readonly PickleValue[]) => PickleValue,
  ) {}
}

/** Anything that the world outside of the pickle language gives a meaning to, such as a tensor. */
export abstract class PickleObject {
  readonly kind = 'object';
  /** For messages. */
  abstract readonly description: string;
}

/** What a value is, in a word or two, for messages. */
export function describeValue(value: PickleValue): string {
  if (value === null) return 'None';
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof PickleFunction) return value.name;
  if (value instanceof PickleObject) return value.description;
  return `a ${value.kind}`;
}
