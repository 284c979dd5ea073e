import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import promises from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openTensorDirectory } from '../../lib/formats';
import { TemporaryFile } from '../../lib/formats/temporary-file';
import { type PthOptions, writePth, type WritableTensor } from '../support/pth-writer';
import { call, global, raw } from '../support/pickle-writer';
import {
  leavingNothing,
  refusal,
  smallModel,
  smallValues,
  temporaryFiles,
  useScratchDirectory,
  valuesOf,
} from './support';

const scratch = useScratchDirectory();

const variants: [string, PthOptions][] = [
  ['a zip archive as torch writes it', {}],
  ['a zip archive without data descriptors and padding', { descriptors: false, alignment: 1 }],
  ['deflated entries', { compression: 'deflated' }],
  ['deflated entries without data descriptors', { compression: 'deflated', descriptors: false }],
  ['zip64 sizes and offsets', { zip64: true }],
  ['zip64 sizes and offsets in local headers too', { zip64: true, descriptors: false }],
  ['zip64 and deflated entries', { zip64: true, compression: 'deflated' }],
  ['a comment at the end of the archive', { comment: 'PK\x05\x06 is not the end' }],
  ['a folder of any name', { folder: 'RWKV-5 世界' }],
  ['pickle protocol 3', { protocol: 3 }],
  ['pickle protocol 4', { protocol: 4 }],
  ['pickle protocol 5', { protocol: 5 }],
  ['an OrderedDict with attributes', { ordered: true }],
  ['parameters', { parameters: true }],
  ['an OrderedDict of parameters in protocol 4', { ordered: true, parameters: true, protocol: 4 }],
  ['storages that were on a GPU', { location: 'cuda:0' }],
  ['a byte order', { byteOrder: 'little' }],
  ['the weights under "state_dict"', { wrapper: 'state_dict' }],
  ['the weights under "model_state_dict"', { wrapper: 'model_state_dict' }],
  ['the weights under "model"', { wrapper: 'model', ordered: true }],
  ['the weights under "module"', { wrapper: 'module' }],
  ['the container of before 1.6', { container: 'legacy' }],
  ['the container of before 1.6 with protocol 4', { container: 'legacy', protocol: 4 }],
  ['the container of before 1.6 with parameters', { container: 'legacy', parameters: true, ordered: true }],
];

describe('a .pth file', () => {
  test.each(variants)('is read with %s', async (_, options) => {
    const path = scratch('variant.pth');
    await writePth(path, smallModel, options);
    expect(await valuesOf(path)).toEqual(smallValues);
  });

  test('tells type, shape and strides of each tensor', async () => {
    const path = scratch('shapes.pth');
    await writePth(path, smallModel);
    const { tensors, format, metadata } = await openTensorDirectory(path);
    expect(format).toBe('pth');
    expect(metadata).toEqual({});
    expect(tensors).toMatchObject([
      { name: 'emb.weight', type: 'bf16', shape: [3, 2], strides: [2, 1] },
      { name: 'blocks.0.ln0.weight', type: 'f32', shape: [4], strides: [1] },
      { name: 'head.weight', type: 'f16', shape: [2, 2], strides: [2, 1] },
    ]);
  });

  test('tells size and identity of the file', async () => {
    const path = scratch('identity.pth');
    await writePth(path, smallModel);
    const { files } = await openTensorDirectory(path);
    const { size, dev, ino, mtimeNs } = statSync(path, { bigint: true });
    expect(files).toEqual([
      { path, size: Number(size), device: dev, inode: ino, modifiedNs: mtimeNs, temporary: false },
    ]);
  });

  test('may hold plain values beside its tensors', async () => {
    const path = scratch('extras.pth');
    await writePth(path, smallModel, {
      extras: [
        ['epoch', 3],
        ['loss', 2.25],
        ['seed', 1n << 70n],
        ['done', true],
        ['tags', { list: ['a', null, { dict: [['nested', { tuple: [1, 2, 3, 4] }]] }] }],
        ['size', call(global('torch', 'Size'), { tuple: [2, 3] })],
        ['device', call(global('torch', 'device'), 'cuda', 0)],
        ['bytes', raw('C', 3, 'abc')],
        ['dtype', global('torch', 'bfloat16')],
        ['set', call(global('builtins', 'set'), { list: [1, 2] })],
        [7, 'a key that is not text'],
      ],
    });
    expect(await valuesOf(path)).toEqual(smallValues);
  });

  test.each<[string, PthOptions]>([
    ['tensors with attributes', { attributes: true }],
    ['tensors with no marks', { marks: null }],
    ['tensors whose marks are not set', { marks: { dict: [['conj', false]] } }],
    ['no checksums', { noChecksums: true }],
    ['sizes in front of the bytes and behind them', { descriptors: true, sizesInFront: true }],
  ])('may have %s', async (_, options) => {
    const path = scratch('unusual.pth');
    await writePth(path, smallModel, options);
    expect(await valuesOf(path)).toEqual(smallValues);
  });

  test('is refused where its numbers are to be negated, which is a mark', async () => {
    for (const [mark, value] of [
      ['neg', true],
      ['conj', true],
      ['neg', 1],
    ] as const) {
      const path = scratch('marked.pth');
      await writePth(path, smallModel, { marks: { dict: [[mark, value]] } });
      const error = await refusal(path);
      expect(error).toMatchObject({ code: 'ERR_WKV_UNSUPPORTED', tensor: smallModel[0]?.name });
      expect(error.message).toContain(`has the mark "${mark}"`);
    }
  });

  test('may hold a list that contains itself beside its tensors', async () => {
    const path = scratch('recursive.pth');
    // ] 200 -> memo; MARK; memo 200; APPENDS
    await writePth(path, smallModel, { extras: [['self', raw(']', 'q', 200, '(', 'h', 200, 'e')]] });
    expect(await valuesOf(path)).toEqual(smallValues);
  });

  const data = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
  const shared: WritableTensor[] = [
    { name: 'whole', type: 'f32', shape: [3, 4], data, storage: 's' },
    { name: 'row', type: 'f32', shape: [4], data, storage: 's', offset: 4 },
    { name: 'transposed', type: 'f32', shape: [4, 3], data, storage: 's', strides: [1, 4] },
    { name: 'column', type: 'f32', shape: [3], data, storage: 's', offset: 3, strides: [4] },
    { name: 'expanded', type: 'f32', shape: [2, 4], data, storage: 's', offset: 8, strides: [0, 1] },
    { name: 'last', type: 'f32', shape: [], data, storage: 's', offset: 11, strides: [] },
  ];

  test.each<[string, PthOptions]>([
    ['stored', {}],
    ['deflated', { compression: 'deflated' }],
    ['legacy', { container: 'legacy' }],
  ])('may have tensors that share one storage with offsets and strides (%s)', async (_, options) => {
    const path = scratch('shared.pth');
    await writePth(path, shared, options);
    expect(await valuesOf(path)).toEqual([
      ['whole', data],
      ['row', [4, 5, 6, 7]],
      ['transposed', [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]],
      ['column', [3, 7, 11]],
      ['expanded', [8, 9, 10, 11, 8, 9, 10, 11]],
      ['last', [11]],
    ]);
  });

  test('may have names that mean something to JavaScript', async () => {
    const path = scratch('names.pth');
    const names = ['__proto__', 'constructor', 'toString'];
    await writePth(
      path,
      names.map((name, index): WritableTensor => ({ name, type: 'f32', shape: [1], data: [index] })),
    );
    expect(await valuesOf(path)).toEqual(names.map((name, index) => [name, [index]]));
  });

  test('is recognized whatever its name is', async () => {
    const path = scratch('model.safetensors');
    await writePth(path, smallModel);
    expect((await openTensorDirectory(path)).format).toBe('pth');
  });
});

describe('a deflated .pth file', () => {
  test('is inflated into a temporary file until it is closed', async () => {
    const path = scratch('deflated.pth');
    await writePth(path, smallModel, { compression: 'deflated' });
    await leavingNothing(async () => {
      const directory = await openTensorDirectory(path);
      const temporary = directory.files[1]!;
      expect(statSync(temporary.path).size).toBe(temporary.size);
      // Windows has other permissions; a user's temporary files are in a folder of his own there.
      if (process.platform !== 'win32') {
        expect(statSync(temporary.path).mode & 0o777).toBe(0o600);
        expect(statSync(dirname(temporary.path)).mode & 0o777).toBe(0o700);
      }
      await directory.close();
      expect(existsSync(temporary.path)).toBe(false);
    });
  });

  test('is left as it is where only headers are asked for', async () => {
    const path = scratch('headers.pth');
    await writePth(path, smallModel, { compression: 'deflated' });
    await leavingNothing(async () => {
      const { files, tensors } = await openTensorDirectory(path, { headersOnly: true });
      expect(files.every((file) => file.path === path)).toBe(true);
      expect(tensors.map(({ name }) => name)).toEqual(smallModel.map(({ name }) => name));
    });
  });

  test('leaves no temporary file where the process exits without closing it', async () => {
    const path = scratch('abandoned.pth');
    await writePth(path, smallModel, { compression: 'deflated' });
    const script = [
      join(__dirname, '../support/run-typescript.js'),
      join(__dirname, 'child-abandons.ts'),
      path,
    ];
    const temporary = execFileSync(process.execPath, script, { encoding: 'utf8' });
    expect(temporary).toMatch(/storages$/);
    expect(existsSync(dirname(temporary))).toBe(false);
  });

  test.each([
    ['no model has', 'a\u0000b', 'ERR_WKV_FORMAT'],
    ['an adapter has', 'blocks.0.att.key.lora_A', 'ERR_WKV_UNSUPPORTED'],
  ])('leaves no temporary file where it has a name that %s', async (_, name, code) => {
    const path = scratch('named.pth');
    await writePth(path, [{ name, type: 'f32', shape: [1], data: [1] }], { compression: 'deflated' });
    expect(await refusal(path)).toMatchObject({ code });
  });

  test('may be closed twice', async () => {
    const path = scratch('twice.pth');
    await writePth(path, smallModel, { compression: 'deflated' });
    const directory = await openTensorDirectory(path);
    await directory.close();
    await expect(directory.close()).resolves.toBeUndefined();
  });

  describe('is refused, and leaves nothing, where the disk', () => {
    const path = scratch('no-room.pth');
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    const count = 100_000;
    beforeAll(async () => {
      const data = new Float32Array(count);
      await writePth(path, [{ name: 'zeros', type: 'f32', shape: [count], data }], {
        compression: 'deflated',
      });
    });
    afterEach(() => jest.restoreAllMocks());

    test('has less room than its weights take when they are inflated', async () => {
      const disk = await promises.statfs(scratch('.'));
      const free = 4 * count;
      jest.spyOn(promises, 'statfs').mockResolvedValue(Object.assign(disk, { bavail: free, bsize: 1 }));
      const error = await refusal(path);
      expect(error.code).toBe('ERR_WKV_MEMORY');
      expect(error.message).toContain(`it needs ${free + 64} bytes and has ${free} free`);
    });

    test.each([
      ['ENOSPC', /Free some space there, or set (?:TMPDIR|TEMP) to a directory on a larger disk\.$/],
      ['EDQUOT', /Free some space there/],
      ['EFBIG', /Free some space there/],
      ['EMFILE', /Close some files, or raise the limit of open ones\.$/],
      ['ENFILE', /Close some files/],
      ['EACCES', /Set (?:TMPDIR|TEMP) to a directory that can be written to\.$/],
    ])('takes no file and says %s', async (code, remedy) => {
      const cause = Object.assign(new Error(code), { code });
      const { open } = promises;
      jest.spyOn(promises, 'open').mockImplementation(async (...parameters) => {
        if (String(parameters[0]).endsWith('storages')) throw cause;
        return await open(...parameters);
      });
      const error = await refusal(path);
      expect(error).toMatchObject({ code: 'ERR_WKV_MEMORY', cause });
      expect(error.message).toMatch(remedy);
    });

    test('does not say how much room it has', async () => {
      const disk = await promises.statfs(scratch('.'));
      const silent = Object.assign(disk, { blocks: 0, bavail: 0 });
      jest.spyOn(promises, 'statfs').mockResolvedValue(silent);
      const handle = await promises.open(path);
      await handle.close();
      jest.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'write').mockRejectedValue(full);
      expect(await refusal(path)).toMatchObject({ code: 'ERR_WKV_MEMORY', cause: full });
    });

    test('is full before all of it is written', async () => {
      const handle = await promises.open(path);
      await handle.close();
      jest.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'write').mockRejectedValue(full);
      expect(await refusal(path)).toMatchObject({ code: 'ERR_WKV_MEMORY', cause: full });
    });
  });

  test('is inflated in pieces that follow each other', async () => {
    const path = scratch('large.pth');
    const values = Array.from({ length: 600_000 }, (_, index) => (index * 7919) % 1021);
    await writePth(path, [{ name: 'large', type: 'f32', shape: [600_000], data: values }], {
      compression: 'deflated',
    });
    expect(await valuesOf(path)).toEqual([['large', values]]);
  });
});

describe('cancelling', () => {
  const reason = new Error('changed my mind');

  test('before the start rejects with the reason of the signal', async () => {
    const path = scratch('cancelled.pth');
    await writePth(path, smallModel);
    await leavingNothing(async () => {
      await expect(openTensorDirectory(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    });
  });

  async function writeZeros(count: number): Promise<string> {
    const path = scratch('inflating.pth');
    const zeros: WritableTensor = {
      name: 'zeros',
      type: 'f32',
      shape: [count],
      data: new Float32Array(count),
    };
    await writePth(path, [zeros], { compression: 'deflated' });
    return path;
  }

  test('while a storage is being inflated rejects with the reason and leaves nothing', async () => {
    const path = await writeZeros(1 << 25);
    const controller = new AbortController();
    await leavingNothing(async () => {
      const opening = openTensorDirectory(path, { signal: controller.signal });
      const watching = setInterval(() => {
        if (temporaryFiles().length > 0) controller.abort(reason);
      }, 1);
      await expect(opening).rejects.toBe(reason);
      clearInterval(watching);
    });
  });

  test('when the first piece of a storage is inflated rejects with the reason, before the others are', async () => {
    const path = await writeZeros(1 << 23);
    const controller = new AbortController();
    const append = jest.spyOn(TemporaryFile.prototype, 'append').mockImplementation(() => {
      controller.abort(reason);
      return Promise.resolve();
    });
    try {
      await leavingNothing(async () => {
        await expect(openTensorDirectory(path, { signal: controller.signal })).rejects.toBe(reason);
      });
      expect(append).toHaveBeenCalledTimes(1);
    } finally {
      append.mockRestore();
    }
  });
});
