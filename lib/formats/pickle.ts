import { corrupt, unsupported } from './failures';
import { PickleBytes } from './pickle-bytes';
import { PickleMachine, type PickleWorld } from './pickle-machine';
import { PickleDict, PickleList, type PickleValue } from './pickle-values';

const maxSteps = 2_000_000;
const stop = 0x2e;

/**
 * Reads one pickle of protocol 2 to 5, as Python writes them for tensors. Nothing of it is executed: the
 * opcodes build plain values, and the few globals that `world` knows are functions of this package. An opcode
 * that is not needed for tensors is refused by name.
 *
 * https://docs.python.org/3/library/pickletools.html describes the opcodes.
 *
 * @param bytes holds the pickle from `start` on, and possibly more after it
 * @returns the value, and where the pickle ended
 * @throws PickleEnd where `bytes` ends first
 * @throws WkvError `ERR_WKV_FORMAT` or `ERR_WKV_UNSUPPORTED`
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  world: PickleWorld,
  path: string,
): { value: PickleValue; end: number } {
  const input = new PickleBytes(bytes, start, path);
  const machine = new PickleMachine(input, world, path);
  checkProtocol(input, path);
  for (let step = 0; step < maxSteps; step++) {
    const opcode = input.uint8();
    if (opcode === stop) return { value: machine.finish(), end: input.position };
    const operation = operations.get(opcode);
    if (operation === undefined) throw refuse(opcode, input.position - 1 - start, path);
    operation(machine);
  }
  throw corrupt(path, `the pickle has more than ${maxSteps} steps`);
}

function checkProtocol(input: PickleBytes, path: string): void {
  const protocol = input.uint8() === 0x80 /* PROTO */ ? input.uint8() : 0;
  if (protocol < 2 || protocol > 5) {
    throw unsupported(path, 'the pickle is of a protocol that is not supported', {
      expected: 'protocol 2 to 5',
      found: protocol < 2 ? 'protocol 0 or 1, or no pickle at all' : `protocol ${protocol}`,
    });
  }
}

function refuse(opcode: number, place: number, path: string): Error {
  const name = refusedOpcodes.get(opcode);
  if (name === undefined) {
    const byte = `0x${opcode.toString(16).padStart(2, '0')}`;
    return corrupt(path, `the pickle has ${byte} at byte ${place}, which is no opcode`);
  }
  return unsupported(
    path,
    `the pickle uses the opcode ${name} at byte ${place}, which loading weights does not need; ` +
      'nothing of it was executed',
    { found: name },
  );
}

type Operation = (m: PickleMachine) => void;

/** What each opcode does, beside PROTO at the beginning and STOP at the end. */
const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  // A hint for buffered reading.
  /* FRAME */ [0x95, (m) => void m.bytes.uint64()],
  /* NONE */ [0x4e, (m) => m.push(null)],
  /* NEWTRUE */ [0x88, (m) => m.push(true)],
  /* NEWFALSE */ [0x89, (m) => m.push(false)],
  /* BININT */ [0x4a, (m) => m.push(m.bytes.int32())],
  /* BININT1 */ [0x4b, (m) => m.push(m.bytes.uint8())],
  /* BININT2 */ [0x4d, (m) => m.push(m.bytes.uint16())],
  /* LONG1 */ [0x8a, (m) => m.push(m.bytes.integer(m.bytes.uint8()))],
  /* LONG4 */ [0x8b, (m) => m.push(m.bytes.integer(m.bytes.int32()))],
  /* BINFLOAT */ [0x47, (m) => m.push(m.bytes.float64())],
  /* SHORT_BINUNICODE */ [0x8c, (m) => m.push(m.bytes.text(m.bytes.uint8()))],
  /* BINUNICODE */ [0x58, (m) => m.push(m.bytes.text(m.bytes.uint32()))],
  /* BINUNICODE8 */ [0x8d, (m) => m.push(m.bytes.text(m.bytes.uint64()))],
  // The str of Python 2.
  /* SHORT_BINSTRING */ [0x55, (m) => m.push(m.bytes.text(m.bytes.uint8()))],
  /* BINSTRING */ [0x54, (m) => m.push(m.bytes.text(m.bytes.int32()))],
  /* SHORT_BINBYTES */ [0x43, (m) => m.push(m.bytes.slice(m.bytes.uint8()))],
  /* BINBYTES */ [0x42, (m) => m.push(m.bytes.slice(m.bytes.uint32()))],
  /* BINBYTES8 */ [0x8e, (m) => m.push(m.bytes.slice(m.bytes.uint64()))],
  /* MARK */ [0x28, (m) => m.mark()],
  /* POP */ [0x30, (m) => m.discard()],
  /* POP_MARK */ [0x31, (m) => void m.popToMark()],
  /* EMPTY_TUPLE */ [0x29, (m) => m.pushTuple([])],
  /* TUPLE1 */ [0x85, (m) => m.pushTuple(m.popMany(1))],
  /* TUPLE2 */ [0x86, (m) => m.pushTuple(m.popMany(2))],
  /* TUPLE3 */ [0x87, (m) => m.pushTuple(m.popMany(3))],
  /* TUPLE */ [0x74, (m) => m.pushTuple(m.popToMark())],
  /* EMPTY_LIST */ [0x5d, (m) => m.push(new PickleList())],
  /* APPEND */ [0x61, (m) => m.append([m.pop()])],
  /* APPENDS */ [0x65, (m) => m.append(m.popToMark())],
  /* EMPTY_DICT */ [0x7d, (m) => m.push(new PickleDict())],
  /* SETITEM */ [0x73, (m) => m.setItems(m.popMany(2))],
  /* SETITEMS */ [0x75, (m) => m.setItems(m.popToMark())],
  /* BINPUT */ [0x71, (m) => m.remember(m.bytes.uint8())],
  /* LONG_BINPUT */ [0x72, (m) => m.remember(m.bytes.uint32())],
  /* MEMOIZE */ [0x94, (m) => m.remember()],
  /* BINGET */ [0x68, (m) => m.recall(m.bytes.uint8())],
  /* LONG_BINGET */ [0x6a, (m) => m.recall(m.bytes.uint32())],
  /* GLOBAL */ [0x63, (m) => m.pushGlobal(m.bytes.line(), m.bytes.line())],
  /* STACK_GLOBAL */ [0x93, (m) => m.pushStackGlobal()],
  /* REDUCE */ [0x52, (m) => m.reduce()],
  /* BUILD */ [0x62, (m) => m.build()],
  /* BINPERSID */ [0x51, (m) => m.pushPersistent()],
]);

/** Opcodes that are refused, by name so that a refusal can say what was asked for. */
const refusedOpcodes: ReadonlyMap<number, string> = new Map([
  [0x32, 'DUP'],
  [0x46, 'FLOAT'],
  [0x49, 'INT'],
  [0x4c, 'LONG'],
  [0x50, 'PERSID'],
  [0x53, 'STRING'],
  [0x56, 'UNICODE'],
  [0x64, 'DICT'],
  [0x67, 'GET'],
  [0x69, 'INST'],
  [0x6c, 'LIST'],
  [0x6f, 'OBJ'],
  [0x70, 'PUT'],
  [0x80, 'PROTO'],
  [0x81, 'NEWOBJ'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x8f, 'EMPTY_SET'],
  [0x90, 'ADDITEMS'],
  [0x91, 'FROZENSET'],
  [0x92, 'NEWOBJ_EX'],
  [0x96, 'BYTEARRAY8'],
  [0x97, 'NEXT_BUFFER'],
  [0x98, 'READONLY_BUFFER'],
]);
