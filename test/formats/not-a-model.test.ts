import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { openTensorDirectory } from '../../lib/formats';
import { Source } from '../../lib/formats/source';
import { ggufBytes, type GgufEntry } from '../support/gguf-writer';
import { writePth } from '../support/pth-writer';
import { zipArchive } from '../support/zip-writer';
import { pickle } from '../support/pickle-writer';
import { onWindows, unless } from '../support/unless';
import { refusal, refusalOf, useScratchDirectory } from './support';

const scratch = useScratchDirectory();

describe('a file that is no model is refused, saying what it looks like:', () => {
  const ggml = Buffer.concat([Buffer.from('tjgg'), Buffer.alloc(60, 1)]);
  // A GGUF file with 123 tensors has a "{" where a safetensors header would begin.
  const gguf = Buffer.concat([Buffer.from('GGUF\x03\0\0\0\x7b\0\0\0'), Buffer.alloc(60)]);

  test.each<[string, string, Buffer, RegExp]>([
    [
      'GGUF that is cut off',
      'ERR_WKV_FORMAT',
      gguf,
      /ends inside the description of a tensor|the name of a tensor/,
    ],
    ['ggml of an early llama.cpp', 'ERR_WKV_UNSUPPORTED', ggml, /early llama\.cpp/],
    [
      'ggml of another kind',
      'ERR_WKV_UNSUPPORTED',
      Buffer.concat([Buffer.from('fmgg'), Buffer.alloc(60, 1)]),
      /ggml file of version 16843009/,
    ],
    ['a web page', 'ERR_WKV_FORMAT', Buffer.from('\n<!doctype html><html>...'), /web page/],
    ['a web page with a byte order mark', 'ERR_WKV_FORMAT', Buffer.from('\ufeff<HTML><body>...'), /web page/],
    [
      'a Git LFS pointer',
      'ERR_WKV_FORMAT',
      Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:...\n'),
      /git lfs pull/,
    ],
    ['gzip', 'ERR_WKV_UNSUPPORTED', gzipSync('some text'), /gzip/],
    ['zstd', 'ERR_WKV_UNSUPPORTED', Buffer.from('28b52ffd000000000000000000000000', 'hex'), /zstd/],
    ['xz', 'ERR_WKV_UNSUPPORTED', Buffer.from('fd377a585a0000000000000000000000', 'hex'), /xz/],
    ['7z', 'ERR_WKV_UNSUPPORTED', Buffer.from('377abcaf271c00000000000000000000', 'hex'), /7z/],
    [
      'tar',
      'ERR_WKV_UNSUPPORTED',
      Buffer.from(`${'\0'.repeat(257)}ustar${'\0'.repeat(250)}`),
      /tar archive: .* torch 0\.1 wrote has to be saved anew/,
    ],
    ['HDF5', 'ERR_WKV_UNSUPPORTED', Buffer.from('89484446' + '0d0a1a0a00'.repeat(4), 'hex'), /HDF5/],
    ['zeros', 'ERR_WKV_FORMAT', Buffer.alloc(1000), /full of zeros/],
    ['text', 'ERR_WKV_FORMAT', Buffer.from('once upon a time there was'), /6f 6e 63 65/],
    ['nothing', 'ERR_WKV_FORMAT', Buffer.alloc(0), /empty/],
    ['three bytes', 'ERR_WKV_FORMAT', Buffer.from('PK\x03'), /3 bytes/],
    ['JSON', 'ERR_WKV_FORMAT', Buffer.from('{"hidden_size": 64}'), /not the index/],
    ['an empty zip archive', 'ERR_WKV_UNSUPPORTED', zipArchive([]), /no data\.pkl/],
    [
      'a zip archive of NumPy arrays',
      'ERR_WKV_UNSUPPORTED',
      zipArchive([{ name: 'a.npy', data: Buffer.alloc(8) }]),
      /no data\.pkl/,
    ],
    [
      'TorchScript',
      'ERR_WKV_UNSUPPORTED',
      zipArchive(
        ['m/data.pkl', 'm/constants.pkl', 'm/code/x.py'].map((name) => ({ name, data: Buffer.of(1) })),
      ),
      /TorchScript/,
    ],
    ['another pickle', 'ERR_WKV_UNSUPPORTED', pickle({ list: ['some', 'text', 1, 2] }), /Python pickle/],
    ['a pickle of protocol 0', 'ERR_WKV_FORMAT', Buffer.from('(lp0\nS"some text"\np1\na.'), /neither/],
  ])('%s', async (_, code, bytes, message) => {
    const error = await refusalOf(scratch('some.pth'), bytes);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });
});

describe('an adapter is refused, saying that it has to be merged first:', () => {
  test.each([
    // RWKV-PEFT's rwkvt/peft/rwkvLinear.py, and merge/merge_bone.py of older ones.
    ['LoRA and PiSSA of RWKV-PEFT', 'blocks.0.att.receptance.lora_A'],
    ['what PiSSA began with', 'model.blocks.0.att.receptance.init_lora_B'],
    ['DiSHA of RWKV-PEFT', 'blocks.11.ffn.key.disha'],
    ['Bone of RWKV-PEFT', 'blocks.11.ffn.key.bone'],
    // peft's save_pretrained, which RWKV-PEFT calls today.
    ['LoRA of PEFT', 'base_model.model.blocks.0.att.receptance.lora_A.weight'],
    ['Bone of PEFT', 'base_model.model.blocks.0.att.receptance.bone_block'],
    ['MiSS of PEFT', 'base_model.model.blocks.0.att.receptance.miss_block'],
    ["LoRA of rwkv-rs' TorchTitan", 'layers.3.linear_attn.r_proj.lora_b.weight'],
  ])('%s', async (_, name) => {
    // Beside it stand vectors that were trained as they are; those of RWKV-6 look like a damaged model.
    const tensors = ['blocks.0.ln1.weight', 'blocks.0.att.time_decay', name].map((each) => ({
      ...{ name: each, type: 'f32' as const, shape: [2], data: [1, 2] },
    }));
    const path = scratch('rwkv-0.pth');
    await writePth(path, tensors);
    expect(await refusal(path)).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', path, tensor: name, found: 'an adapter' },
      message: expect.stringMatching(
        /is of an adapter, .* base model .*: merge it .*merge\/merge\.py, merge_bone\.py and merge_disha\.py .*merge_and_unload/,
      ) as string,
    });
  });

  test('a directory of PEFT', async () => {
    mkdirSync(scratch('peft'));
    writeFileSync(scratch('peft/adapter_config.json'), '{"peft_type": "LORA"}');
    writeFileSync(scratch('peft/adapter_model.safetensors'), '');
    expect((await refusal(scratch('peft'))).message).toMatch(
      /the directory holds no model, but an adapter, .*: merge it into that model first/,
    );
    writeFileSync(scratch('peft/merged.safetensors'), '');
    expect((await refusal(scratch('peft'))).message).toMatch(/pass its path \(.*"merged\.safetensors"\)/);
  });

  test('LoRA of llama.cpp', async () => {
    const path = scratch('lora.gguf');
    const metadata = {
      'general.architecture': ['string', 'rwkv7'],
      'general.type': ['string', 'adapter'],
    } satisfies Record<string, GgufEntry>;
    writeFileSync(path, ggufBytes([], { metadata }));
    expect(await refusal(path)).toMatchObject({
      ...{ code: 'ERR_WKV_UNSUPPORTED', path, found: 'an adapter' },
      message: expect.stringMatching(/is an adapter, .*: merge it into that model first/) as string,
    });
  });

  test('names that only contain such a word are of no adapter', async () => {
    const names = ['blocks.0.att.bonelike', 'blocks.0.att.w_lora.lora.0.weight', 'blocks.0.att.lora_alpha'];
    const path = scratch('no-adapter.pth');
    await writePth(
      path,
      names.map((name) => ({ name, type: 'f32', shape: [1], data: [1] })),
    );
    const { tensors } = await openTensorDirectory(path);
    expect(tensors.map(({ name }) => name)).toEqual(names);
  });
});

describe('a path', () => {
  test('of a file where too many are open is no damaged one', async () => {
    const path = scratch('sound.pth');
    writeFileSync(path, Buffer.alloc(1000, 1));
    const open = jest.spyOn(promises, 'open');
    try {
      for (const code of ['EMFILE', 'ENFILE']) {
        const cause = Object.assign(new Error(`${code}: too many open files, open`), { code });
        open.mockRejectedValueOnce(cause);
        const message = `${path}: cannot be opened: ${cause.message}`;
        expect(await refusal(path)).toMatchObject({ code: 'ERR_WKV_MEMORY', path, message, cause });
      }
    } finally {
      open.mockRestore();
    }
  });

  test('that does not exist is refused with the error of the operating system as cause', async () => {
    const path = scratch('absent.pth');
    const error = await refusal(path);
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', path, cause: { code: 'ENOENT' } });
    expect(error.message).toContain('no such file');
  });

  test('that leads through a file is refused', async () => {
    writeFileSync(scratch('file'), 'x');
    expect(await refusal(scratch('file/model.pth'))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      cause: { code: process.platform === 'win32' ? 'ENOENT' : 'ENOTDIR' },
    });
  });

  test('of an empty directory is refused', async () => {
    mkdirSync(scratch('empty'));
    expect((await refusal(scratch('empty'))).message).toContain('holds no model');
  });

  test('of a directory with a file of web-rwkv names that file', async () => {
    mkdirSync(scratch('other'));
    writeFileSync(scratch('other/model.st'), '');
    expect((await refusal(scratch('other'))).message).toMatch(/pass its path \("model\.st"\)/);
  });

  unless(onWindows('Windows has no named pipes in folders'))(
    'of a named pipe is refused without waiting for a writer',
    async () => {
      const path = scratch('pipe');
      execFileSync('mkfifo', [path]);
      expect((await refusal(path)).message).toContain('not a regular file');
    },
  );

  unless(onWindows('symbolic links need a privilege on Windows'))(
    'of a symbolic link to itself is refused',
    async () => {
      const path = scratch('loop');
      symlinkSync(path, path);
      expect((await refusal(path)).code).toBe('ERR_WKV_FORMAT');
    },
  );

  unless(onWindows('Node cannot take away the permission to read on Windows'))(
    'of a file that may not be read is refused, except to the superuser',
    async () => {
      const path = scratch('secret.pth');
      writeFileSync(path, 'not a model, but long enough');
      chmodSync(path, 0);
      const expected = process.getuid?.() === 0 ? /neither a torch file/ : /permission denied/;
      expect((await refusal(path)).message).toMatch(expected);
    },
  );

  test.each([
    ['a number', 7],
    ['nothing', undefined],
    ['an empty text', ''],
    ['an object', { href: 'file:///x' }],
  ])('that is %s is a TypeError', async (_, path) => {
    await expect(openTensorDirectory(path as string)).rejects.toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  test('with a NUL character is a TypeError', async () => {
    await expect(openTensorDirectory('a\0b')).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  test('that is the URL of something else than a file is a TypeError', async () => {
    const url = new URL('https://example.org/model.pth');
    await expect(openTensorDirectory(url)).rejects.toMatchObject({ code: 'ERR_INVALID_URL_SCHEME' });
  });

  test.each(['C://models/x.pth', 'c://x.pth'])('that is %s is a drive, not an address', async (path) => {
    await expect(openTensorDirectory(path)).rejects.toMatchObject({
      message: expect.stringMatching(/no such file/) as string,
    });
  });

  test.each(['s3://models/model.pth', 'hf://models/model.pth', 'https://example.org/model.pth'])(
    'that is the text %s is refused',
    async (path) => {
      await expect(openTensorDirectory(path)).rejects.toMatchObject({
        code: 'ERR_WKV_FORMAT',
        message: expect.stringMatching(/is an address; download the file and give its path$/) as string,
      });
    },
  );

  unless(onWindows('symbolic links need a privilege on Windows'))(
    'of a directory whose model is a link that leads nowhere is refused',
    async () => {
      mkdirSync(scratch('dangling'));
      symlinkSync('absent', scratch('dangling/model.safetensors'));
      expect((await refusal(scratch('dangling'))).message).toMatch(
        /model\.safetensors: is a link to a file that is not there/,
      );
    },
  );

  unless(onWindows('symbolic links need a privilege on Windows'))(
    'of a directory whose model is a link to itself is refused as one that cannot be opened',
    async () => {
      mkdirSync(scratch('itself'));
      symlinkSync('model.safetensors', scratch('itself/model.safetensors'));
      expect((await refusal(scratch('itself'))).message).toMatch(
        /model\.safetensors: cannot be opened: .*ELOOP/,
      );
    },
  );

  test('of a file that becomes shorter while it is read is refused', async () => {
    const path = scratch('shrinking.pth');
    writeFileSync(path, Buffer.alloc(1000, 1));
    const source = await Source.open(path);
    try {
      truncateSync(path, 500);
      await expect(source.read(0, 1000, 'the header')).rejects.toMatchObject({
        code: 'ERR_WKV_FORMAT',
        message: `${path}: the file became shorter while the header was being read`,
      });
    } finally {
      await source.close();
    }
  });

  test('of a file on a broken disk is refused, saying what the system says', async () => {
    const path = scratch('broken.pth');
    writeFileSync(path, Buffer.alloc(1000, 1));
    const broken = new Error('EIO: i/o error, read');
    const handle = await promises.open(path);
    await handle.close();
    const read = jest.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'read').mockRejectedValue(broken);
    try {
      expect(await refusal(path)).toMatchObject({
        code: 'ERR_WKV_FORMAT',
        message: `${path}: cannot be read: EIO: i/o error, read`,
        cause: broken,
      });
    } finally {
      read.mockRestore();
    }
  });

  test('that is the URL of a file leads to it', async () => {
    const url = pathToFileURL(scratch('absent.pth'));
    await expect(openTensorDirectory(url)).rejects.toMatchObject({ path: scratch('absent.pth') });
  });
});
