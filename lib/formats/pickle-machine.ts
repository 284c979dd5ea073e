import { corrupt, unsupported } from './failures';
import type { PickleBytes } from './pickle-bytes';
import {
  describeValue,
  PickleDict,
  PickleFunction,
  PickleList,
  PickleTuple,
  type PickleValue,
} from './pickle-values';
import { quoted } from '../quoted';

/** What gives globals and persistent ids their meaning; both throw for what they do not know. */
export interface PickleWorld {
  global(module: string, name: string): PickleValue;
  persistent(id: PickleValue): PickleValue;
}

/*
 * Bounds that no model comes near (the pickle of RWKV-5 7B makes about 10,000 objects), and that keep a hostile
 * pickle within a few hundred MB of memory.
 */
const maxStack = 1_000_000;
const maxObjects = 1_000_000;

/** The stack and the memo that a pickle's opcodes work on. */
export class PickleMachine {
  private readonly stack: PickleValue[] = [];
  /** Height of the stack at each MARK that is still open. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, PickleValue>();
  /** Containers and other objects made so far. */
  private objects = 0;

  constructor(
    readonly bytes: PickleBytes,
    private readonly world: PickleWorld,
    private readonly path: string,
  ) {}

  /** The one value that is left at the end. */
  finish(): PickleValue {
    const value = this.pop();
    if (this.stack.length > 0 || this.marks.length > 0) throw this.corrupt('leaves values over at its end');
    return value;
  }

  push(value: PickleValue): void {
    if (typeof value === 'object' && value !== null) this.objects++;
    this.stack.push(value);
    this.checkBounds();
  }

  pop(): PickleValue {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  mark(): void {
    this.marks.push(this.stack.length);
    this.checkBounds();
  }

  /** POP, which also takes back a MARK that has nothing above it. */
  discard(): void {
    if (this.stack.length === this.marks.at(-1)) this.marks.pop();
    else this.pop();
  }

  popMany(count: number): PickleValue[] {
    if (this.stack.length - count < this.floor()) throw this.corrupt('takes a value from an empty stack');
    return this.stack.splice(this.stack.length - count);
  }

  popToMark(): PickleValue[] {
    const from = this.marks.pop();
    if (from === undefined) throw this.corrupt('looks for a mark that is not there');
    return this.stack.splice(from);
  }

  pushTuple(items: readonly PickleValue[]): void {
    this.push(new PickleTuple(items));
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PickleList)) throw this.corrupt(`appends to ${describeValue(list)}`);
    for (const item of items) list.items.push(item);
  }

  /** @param items keys and values in turn */
  setItems(items: readonly PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PickleDict)) throw this.corrupt(`sets an item of ${describeValue(dict)}`);
    for (let index = 0; index < items.length; index += 2) {
      const key = items[index];
      const value = items[index + 1];
      if (key === undefined || value === undefined) throw this.corrupt('sets an item without a value');
      if (key instanceof PickleDict || key instanceof PickleList) {
        throw this.corrupt(`uses ${describeValue(key)} as a key`);
      }
      if (dict.entries.has(key)) {
        throw this.corrupt(
          `sets ${typeof key === 'string' ? quoted(key) : describeValue(key)} twice in one dict`,
        );
      }
      dict.entries.set(key, value);
    }
  }

  /** @param index the next free one by default */
  remember(index = this.memo.size): void {
    this.memo.set(index, this.top());
    this.checkBounds();
  }

  recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.corrupt(`refers to entry ${index} of its memo, which is not there`);
    this.stack.push(value);
    this.checkBounds();
  }

  /** STACK_GLOBAL */
  pushStackGlobal(): void {
    const name = this.pop();
    const module = this.pop();
    if (typeof module !== 'string' || typeof name !== 'string') {
      throw this.corrupt('names a global by something that is not text');
    }
    this.pushGlobal(module, name);
  }

  pushGlobal(module: string, name: string): void {
    this.push(this.world.global(module, name));
  }

  pushPersistent(): void {
    this.push(this.world.persistent(this.pop()));
  }

  reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(args instanceof PickleTuple)) throw this.corrupt('calls a function without a tuple of arguments');
    if (!(callee instanceof PickleFunction)) throw this.corrupt(`calls ${describeValue(callee)}`);
    this.push(callee.call(args.items));
  }

  /** An OrderedDict may carry attributes (torch's `_metadata`), which say nothing about weights. */
  build(): void {
    const state = this.pop();
    const target = this.top();
    if (!(target instanceof PickleDict && state instanceof PickleDict)) {
      throw unsupported(
        this.path,
        `the pickle sets the state of ${describeValue(target)} (opcode BUILD), which loading weights does not need`,
      );
    }
  }

  private top(): PickleValue {
    const value = this.stack.length > this.floor() ? this.stack.at(-1) : undefined;
    if (value === undefined) throw this.corrupt('takes a value from an empty stack');
    return value;
  }

  /** How far down the stack may be used: to the last MARK. */
  private floor(): number {
    return this.marks.at(-1) ?? 0;
  }

  private checkBounds(): void {
    if (this.stack.length > maxStack || this.marks.length > maxStack || this.objects > maxObjects) {
      throw this.corrupt('needs more memory than any model does');
    }
  }

  private corrupt(problem: string): Error {
    return corrupt(this.path, `the pickle ${problem}`);
  }
}
