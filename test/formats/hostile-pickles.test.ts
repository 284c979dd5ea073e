import { readPickle } from '../../lib/formats/pickle';
import { call, global, orderedDict, pickle, type Python, raw, tuple } from '../support/pickle-writer';
import { uint32, uint64, zipArchive } from '../support/zip-writer';
import { type PickledTensor, pickledTensor, refusalOf, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

/** A .pth with this pickle and one storage `0` of four float32. */
function archive(data: Uint8Array): Buffer {
  return zipArchive([
    { name: 'm/data.pkl', data },
    { name: 'm/data/0', data: Buffer.alloc(16) },
  ]);
}

async function refuse(data: Uint8Array): Promise<{ code: string; message: string; found?: string }> {
  return await refusalOf(scratch('hostile.pth'), archive(data));
}

/** A pickle whose opcodes are all given, the protocol and STOP too. */
function opcodes(...parts: readonly (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat([Buffer.of(0x80, 2), Buffer.from(raw(...parts).raw)]);
}

describe('a pickle that asks for code is refused by name:', () => {
  const run = global('os', 'system');

  test.each<[string, Python]>([
    ['os.system', call(run, 'touch /tmp/owned')],
    ['builtins.eval', call(global('builtins', 'eval'), '1')],
    ['posix.system', call(global('posix', 'system'), 'id')],
    ['__builtin__.getattr', call(global('__builtin__', 'getattr'), 'x', 'y')],
    ['torch.load', call(global('torch', 'load'), 'x')],
    ['torch.nn.modules.linear.Linear', call(global('torch.nn.modules.linear', 'Linear'))],
    ['torch._utils._rebuild_qtensor', global('torch._utils', '_rebuild_qtensor')],
    ['collections.OrderedDict.__class__', global('collections', 'OrderedDict.__class__')],
    ['numpy.core.multiarray.scalar', global('numpy.core.multiarray', 'scalar')],
    ['torch.__proto__', global('torch', '__proto__')],
    ['.constructor', global('', 'constructor')],
  ])('%s', async (name, value) => {
    for (const protocol of [2, 4] as const) {
      const error = await refuse(pickle({ dict: [['a', value]] }, protocol));
      expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', found: name });
      expect(error.message).toContain(JSON.stringify(name));
    }
  });

  test('hidden in the metadata of a tensor', async () => {
    const tensor = call(
      global('torch._utils', '_rebuild_tensor_v2'),
      call(run, 'id'),
      0,
      tuple(),
      tuple(),
      false,
      null,
    );
    expect(await refuse(pickle({ dict: [['a', tensor]] }))).toMatchObject({ found: 'os.system' });
  });

  test('hidden in a persistent id', async () => {
    expect(await refuse(pickle({ persistent: tuple('storage', run) }))).toMatchObject({ found: 'os.system' });
  });

  test('hidden in a tensor of a class', async () => {
    const rebuild = global('torch._tensor', '_rebuild_from_type_v2');
    const parameter = global('torch.nn.parameter', 'Parameter');
    const typed = (...args: readonly Python[]): Buffer => pickle({ dict: [['a', call(rebuild, ...args)]] });
    expect(await refuse(typed(run, parameter, tuple('id'), null))).toMatchObject({ found: 'os.system' });
    // It may not be called by itself, which could go on for ever.
    for (const args of [
      [rebuild, parameter, tuple(rebuild, parameter, tuple(), null), null],
      [global('torch._utils', '_rebuild_tensor_v2'), global('torch', 'device'), tuple(), null],
      [global('torch._utils', '_rebuild_tensor_v2'), parameter, 5, null],
    ]) {
      const error = await refuse(typed(...args));
      expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT' });
      expect(error.message).toContain('makes a tensor of a class that is none');
    }
  });

  test('with characters that would mislead a reader escaped', async () => {
    const error = await refuse(pickle(global('os\u202e', 'sys\u001b[2Jtem'), 4));
    expect(error.message).toContain('"os\\u202e.sys\\u001b[2Jtem"');
  });
});

describe('an opcode that tensors do not need is refused by name:', () => {
  test.each<[string, readonly (number | string)[]]>([
    ['NEWOBJ', ['ccollections\nOrderedDict\n)', 0x81, '.']],
    ['NEWOBJ_EX', ['ccollections\nOrderedDict\n)}', 0x92, '.']],
    ['INST', ['(ios\nsystem\n.']],
    ['OBJ', ['(ccollections\nOrderedDict\no.']],
    ['EXT1', [0x82, 1, '.']],
    ['EXT2', [0x83, 1, 0, '.']],
    ['EXT4', [0x84, 1, 0, 0, 0, '.']],
    ['PERSID', ['Pabc\n.']],
    ['DUP', ['N2.']],
    ['EMPTY_SET', [0x8f, '.']],
    ['FROZENSET', ['(', 0x91, '.']],
    ['BYTEARRAY8', [0x96, 0, 0, 0, 0, 0, 0, 0, 0, '.']],
    ['NEXT_BUFFER', [0x97, '.']],
    ['PROTO', [0x80, 2, 'N.']],
    ['INT', ['I1\n.']],
    ['LONG', ['L1\n.']],
    ['GET', ['g0\n.']],
    ['UNICODE', ['Vabc\n.']],
  ])('%s', async (name, parts) => {
    const error = await refuse(opcodes(...parts));
    expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', found: name });
    expect(error.message).toContain(name);
  });

  test.each([0xff, 0x00, 0x99, 0x0a])('and a byte that is no opcode (%d) as damage', async (byte) => {
    expect((await refuse(opcodes(byte, '.'))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each([0, 1, 6, 255])('and protocol %d as not supported', async (protocol) => {
    expect((await refuse(Buffer.of(0x80, protocol, 0x7d, 0x2e))).code).toBe('ERR_WKV_UNSUPPORTED');
  });

  test('BUILD on something that is not an OrderedDict', async () => {
    const error = await refuse(pickle({ build: pickledTensor(), state: { dict: [['__class__', 'x']] } }));
    expect(error.code).toBe('ERR_WKV_UNSUPPORTED');
    expect(error.message).toContain('a tensor (opcode BUILD)');
  });

  test('BUILD with a state that is not a dict', async () => {
    expect((await refuse(pickle({ build: orderedDict([]), state: tuple(1, 2) }))).code).toBe(
      'ERR_WKV_UNSUPPORTED',
    );
  });
});

describe('a pickle that misuses the stack or the memo is refused:', () => {
  test.each<[string, readonly (number | string)[]]>([
    ['no values at all', ['.']],
    ['two values at the end', ['NN.']],
    ['an open mark at the end', ['N(.']],
    ['an open mark below the end', ['(N.']],
    ['POP of nothing', ['0.']],
    ['REDUCE without a function', [')R.']],
    ['REDUCE of text', ['U', 1, 'a)R.']],
    ['REDUCE of a storage type', ['ctorch\nFloatStorage\n)R.']],
    ['REDUCE with a list for arguments', ['ccollections\nOrderedDict\n]R.']],
    ['APPEND to a dict', ['}Na.']],
    ['APPEND to nothing', ['Na.']],
    ['SETITEM of a list', [']NNs.']],
    ['SETITEM with a list for a key', ['}]Ns.']],
    ['SETITEMS with a key too many', ['}(NNNu.']],
    ['an OrderedDict of a tuple of pairs', ['ccollections\nOrderedDict\nU', 1, 'aN', 0x86, 0x85, 0x85, 'R.']],
    ['an OrderedDict of one name', ['ccollections\nOrderedDict\n]U', 1, 'a', 0x85, 'a', 0x85, 'R.']],
    [
      'an OrderedDict of the same name twice',
      ['ccollections\nOrderedDict\n](U', 1, 'aN', 0x86, 'U', 1, 'aN', 0x86, 'e', 0x85, 'R.'],
    ],
    ['SETITEMS without a mark', ['}NNu.']],
    ['the same key twice', ['}(U', 1, 'aNU', 1, 'aNu.']],
    ['TUPLE without a mark', ['NNt.']],
    ['TUPLE3 of two', ['NN', 0x87, '.']],
    ['TUPLE2 across a mark', ['N(N', 0x86, '1.']],
    ['POP_MARK without a mark', ['N1.']],
    ['BINGET of nothing', ['h', 7, '.']],
    ['LONG_BINGET of nothing', ['j', 255, 255, 255, 255, '.']],
    ['BINPUT of an empty stack', ['q', 0, '.']],
    ['MEMOIZE of an empty stack', [0x94, '.']],
    ['STACK_GLOBAL of numbers', ['K', 1, 'K', 2, 0x93, '.']],
    ['BINPERSID of nothing', ['Q.']],
    ['BINPERSID of text', ['U', 1, 'aQ.']],
    ['BUILD of nothing', ['}b.']],
    ['text that is not UTF-8', ['U', 2, 0xff, 0xfe, '.']],
  ])('%s', async (_, parts) => {
    const error = await refuse(opcodes(...parts));
    expect(error.code).toBe('ERR_WKV_FORMAT');
    expect(error.message).toContain('the pickle ');
  });
});

test('POP takes back a mark that has nothing above it, and else a value', () => {
  const world = { global: () => null, persistent: () => null };
  const { value } = readPickle(opcodes('K', 7, '(0N0(N0', '0.'), 0, world, 'pops');
  expect(value).toBe(7);
});

describe('a pickle with lengths that lie is refused:', () => {
  test.each<[string, Uint8Array]>([
    ['BINUNICODE of 4 GB', opcodes('X', uint32(0xffffffff), 'abc.')],
    ['BINUNICODE8 of 2^63 bytes', opcodes(0x8d, uint64(1n << 63n), 'abc.')],
    ['BINSTRING of -1 bytes', opcodes('T', uint32(0xffffffff), 'abc.')],
    ['BINBYTES8 of 2^52 bytes', opcodes(0x8e, uint64(1n << 52n), 'abc.')],
    ['LONG4 of 2 GB', opcodes(0x8b, uint32(0x7fffffff), 'abc.')],
    ['LONG4 of -1 bytes', opcodes(0x8b, uint32(0xffffffff), 'abc.')],
    ['LONG4 of 1 MB that is there', opcodes(0x8b, uint32(1 << 20), Buffer.alloc(1 << 20, 0x7f), '.')],
    ['a frame of 2^63 bytes', opcodes(0x95, uint64(1n << 63n), '}.')],
    ['a global without an end', opcodes(`c${'a'.repeat(5000)}`)],
    ['a global of 1 MB', opcodes(`c${'a'.repeat(1 << 20)}\nb\n.`)],
    ['an end in the middle of a number', opcodes('J', 1, 2)],
    ['no end', opcodes('}')],
    ['something after its end', opcodes('}..')],
  ])('%s', async (_, bytes) => {
    expect((await refuse(bytes)).code).toBe('ERR_WKV_FORMAT');
  });
});

test('integers of up to 16 bytes are what Python wrote', () => {
  const world = { global: () => null, persistent: () => null };
  for (let length = 0; length <= 16; length++) {
    for (const fill of [0x00, 0x01, 0x5a, 0x7f, 0x80, 0x81, 0xff]) {
      const bytes = Buffer.alloc(length, fill);
      if (length > 1) bytes[0] = 0x12;
      const written = BigInt(`0x0${Buffer.from(bytes.toReversed()).toString('hex')}`);
      const expected = BigInt.asIntN(8 * length, written);
      const { value } = readPickle(opcodes(0x8a, length, bytes, '.'), 0, world, 'integer');
      expect(value).toBe(Number.isSafeInteger(Number(expected)) ? Number(expected) : expected);
    }
  }
});

test.each([
  ['LONG1', Buffer.of(0x8a, 17)],
  ['LONG4', Buffer.concat([Buffer.of(0x8b), uint32(17)])],
])('an integer of 17 bytes (%s) is refused: millions of them would take seconds', async (_, opcode) => {
  const error = await refuse(opcodes(opcode, Buffer.alloc(17, 0x7f), '.'));
  expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT' });
  expect(error.message).toContain('holds an integer of 17 bytes');
});

describe('a pickle that is made to exhaust memory or time is refused:', () => {
  test.each<[string, () => Buffer]>([
    ['two million nested lists', () => opcodes(']'.repeat(2_000_000))],
    ['two million nested tuples', () => opcodes('N', Buffer.alloc(2_000_000, 0x85), '.')],
    ['two million marks', () => opcodes('('.repeat(2_000_000))],
    ['two million dicts in a list', () => opcodes(']', `(${'}'.repeat(1000)}e`.repeat(2000), '.')],
    ['two million values on the stack', () => opcodes('N'.repeat(2_000_000))],
    ['three million steps', () => opcodes('N0'.repeat(1_500_000), 'N.')],
    [
      'a hundred OrderedDicts of one list of 20,000 pairs',
      () => {
        const pairs = Array.from(
          { length: 20_000 },
          (_, i) => raw('U', 5, String(10_000 + i), 'N', 0x86).raw,
        );
        const copies = Array.from({ length: 100 }, () => raw('h', 0, 'h', 1, 0x85, 'R').raw);
        return opcodes('ccollections\nOrderedDict\nq', 0, '0]q', 1, '(', ...pairs, 'e0', ...copies, '.');
      },
    ],
    [
      'a thousand tensors with one dict of 300,000 marks',
      () => {
        const marks = Buffer.concat(
          Array.from({ length: 300_000 }, (_, i) => Buffer.from(`U\x06${100_000 + i}\x89`, 'latin1')),
        );
        // A storage, the offset 0, the size (4,), the strides (1,), False, {}, and the marks.
        const storage = '(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ';
        const others = Buffer.from(`(${storage}K\x00K\x04\x85K\x01\x85\x89}`, 'latin1');
        const tensors = 'h\x00h\x01R0'.repeat(1000);
        return opcodes(
          'ctorch._utils\n_rebuild_tensor_v2\nq',
          0,
          others,
          '}(',
          marks,
          'utq',
          1,
          '00',
          tensors,
          'N.',
        );
      },
    ],
  ])('%s', async (_, bytes) => {
    const error = await refuse(bytes());
    expect(error.code).toBe('ERR_WKV_FORMAT');
    expect(error.message).toMatch(/more memory|OrderedDicts of more than|steps|more than 16 marks/);
  });

  test('lists of lists that would be 10^30 values if anything copied them', async () => {
    // ] 0 -> memo, then 100 times a list of the list before, ten times.
    const levels = Array.from(
      { length: 100 },
      (_, level) =>
        raw(']', 'q', level + 1, '(', ...Array.from({ length: 10 }, () => raw('h', level).raw), 'e0').raw,
    );
    const error = await refuse(opcodes(']q', 0, '0', ...levels, 'h', 100, '.'));
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', found: 'a list' });
  });

  test('a dict that contains itself as "state_dict"', async () => {
    const error = await refuse(opcodes('}q', 0, 'U', 10, 'state_dicth', 0, 's.'));
    expect(error.message).toContain('holds no tensors');
  });
});

describe('a tensor is refused', () => {
  const huge = 2 ** 31 - 1;

  test.each<[string, PickledTensor]>([
    ['with more elements than its storage', { shape: [2, 3], strides: [3, 1] }],
    ['with an offset beyond its storage', { offset: 1 }],
    ['with strides beyond its storage', { strides: [3, 1] }],
    ['with a negative offset', { offset: -1 }],
    ['with a negative stride', { strides: [-2, 1] }],
    ['with a negative dimension', { shape: [-2, -2] }],
    ['with fewer strides than dimensions', { strides: [1] }],
    ['with more strides than dimensions', { strides: [2, 1, 1] }],
    ['with a fraction for a dimension', { shape: [2, 1.5] }],
    ['with text for a dimension', { shape: [2, 'a'] }],
    ['with text for a stride', { strides: [2, 'a'] }],
    ['with a dimension of 2^70', { shape: [1n << 70n, 1] }],
    ['with dimensions whose product is 2^64', { shape: [1n << 32n, 1n << 32n] }],
    [
      'with dimensions whose product is 0 modulo 2^64',
      { shape: [1n << 33n, 1n << 33n, 4], strides: [0, 0, 1] },
    ],
    ['with expanded dimensions of 2^62 elements', { shape: [huge, huge], strides: [0, 0] }],
    ['with a stride that overflows', { strides: [(1n << 53n) - 1n, (1n << 53n) - 1n] }],
    ['with an offset that overflows', { offset: (1n << 53n) - 1n }],
    ['with an offset of 2^64', { offset: 1n << 64n }],
    ['with a storage of another size than the file has', { elements: 5 }],
    ['with a storage that claims 2^53 elements', { elements: (1n << 53n) - 1n }],
    ['with a storage of -4 elements', { elements: -4 }],
    ['with a storage that is not there', { key: '1' }],
    ['with a storage outside of its folder', { key: '../data.pkl' }],
    ['with a number for the name of its storage', { key: 0 }],
    ['with text for the type of its storage', { storageType: 'FloatStorage' }],
    [
      'with a storage of another type than the file has room for',
      { storageType: global('torch', 'HalfStorage') },
    ],
  ])('%s', async (_, tensor) => {
    const error = await refuse(pickle({ dict: [['a', pickledTensor(tensor)]] }));
    expect(error.code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, PickledTensor]>([
    ['of int64', { storageType: global('torch', 'LongStorage') }],
    ['of float64', { storageType: global('torch', 'DoubleStorage') }],
    ['of bool', { storageType: global('torch', 'BoolStorage') }],
    ['with no elements', { shape: [0, 2] }],
    ['with nine dimensions', { shape: [1, 1, 1, 1, 1, 1, 1, 1, 1], strides: [1, 1, 1, 1, 1, 1, 1, 1, 1] }],
  ])('%s as not supported, naming it', async (_, tensor) => {
    const error = await refuse(pickle({ dict: [['some.tensor', pickledTensor(tensor)]] }));
    expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', tensor: 'some.tensor' });
  });

  test.each<[string, PickledTensor]>([
    ['another type', { storageType: global('torch', 'BFloat16Storage') }],
    ['other elements', { elements: 8 }],
    ['another type and other elements', { storageType: global('torch', 'BFloat16Storage'), elements: 8 }],
  ])('whose storage another tensor describes with %s', async (_, other) => {
    const value: Python = {
      dict: [
        ['a', pickledTensor()],
        ['b', pickledTensor(other)],
      ],
    };
    expect((await refuse(pickle(value))).message).toContain('in two ways');
  });

  test('whose name is a number', async () => {
    expect((await refuse(pickle({ dict: [[1, pickledTensor()]] }))).code).toBe('ERR_WKV_FORMAT');
  });

  test('that is one of more than 100,000', async () => {
    const names = Array.from({ length: 100_001 }, (_, i) => raw('U', 6, String(100_000 + i), 'h', 100).raw);
    const one = pickle(pickledTensor()).subarray(2, -1);
    const error = await refuse(opcodes(one, 'q', 100, '0}(', Buffer.concat(names), 'u.'));
    expect(error.message).toContain('holds more than 100000 tensors');
  });

  test('that is made with too few arguments', async () => {
    const tensor = call(global('torch._utils', '_rebuild_tensor_v2'), 1, 2);
    expect((await refuse(pickle({ dict: [['a', tensor]] }))).code).toBe('ERR_WKV_FORMAT');
  });

  test('that is a parameter of a number', async () => {
    const parameter = call(global('torch._utils', '_rebuild_parameter'), 1, true, null);
    expect((await refuse(pickle({ dict: [['a', parameter]] }))).code).toBe('ERR_WKV_FORMAT');
  });

  test.each<[string, Python]>([
    ['alone', pickledTensor()],
    ['in a list', { list: [pickledTensor()] }],
    ['two dicts deep', { dict: [['state_dict', { dict: [['model', { dict: [['a', pickledTensor()]] }]] }]] }],
  ])('that is %s', async (_, value) => {
    expect(await refuse(pickle(value))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      expected: 'a dict of tensors',
    });
  });
});
