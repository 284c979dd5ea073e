import fs, { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { Tokenizer, worldVocabularyPath } from '../../lib/tokenizer';
import { findTokenizer } from '../../lib/tokenizer-search';
import type * as vocabulary from '../../lib/vocabulary';
import { expectFailure, thrown } from '../support/failure';
import { notOnLinux, unless } from '../support/unless';
import { describeWithWorld, withDirectory, worldText } from './support';

/** Gives one fresh copy of the tokenizer the file `path` instead of the package's World vocabulary. */
function withPackagedAt(path: string, use: (tokenizer: typeof Tokenizer) => void): void {
  jest.isolateModules(() => {
    jest.doMock('../../lib/vocabulary', () => {
      const actual = jest.requireActual<typeof vocabulary>('../../lib/vocabulary');
      return { ...actual, readCompressedVocabularyFile: () => actual.readCompressedVocabularyFile(path) };
    });
    use(jest.requireActual<{ Tokenizer: typeof Tokenizer }>('../../lib/tokenizer').Tokenizer);
  });
  jest.dontMock('../../lib/vocabulary');
}

/** The same with a file of these bytes. */
function withPackaged(content: Uint8Array, use: (tokenizer: typeof Tokenizer) => void): void {
  withDirectory((directory) => {
    const path = join(directory, 'packaged.br');
    writeFileSync(path, content);
    withPackagedAt(path, use);
  });
}

/** Quickly: how small it becomes does not matter here. */
const compressed = (text: string | Uint8Array): Buffer =>
  brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });

describe('the World vocabulary of the package', () => {
  test('is missing with an error that says what to do', () => {
    withPackagedAt(join(__dirname, 'absent.br'), (isolated) => {
      expect(thrown(() => isolated.world())).toMatchObject({
        name: 'WkvError',
        code: 'ERR_WKV_TOKEN',
        path: worldVocabularyPath,
        message: expect.stringMatching(/npm run vocabulary.*Tokenizer\.fromVocabulary\(\)/) as string,
      });
    });
  });

  test('is refused where it is another file', () => {
    withPackaged(compressed("1 'a' 1\n"), (isolated) => {
      expect(thrown(() => isolated.world())).toMatchObject({
        code: 'ERR_WKV_FORMAT',
        path: worldVocabularyPath,
        expected: expect.stringContaining('e6dee3d4e31b4d5c') as string,
      });
    });
  });
});

describe('a World vocabulary of the package', () => {
  test.each([
    ['that is not compressed', Buffer.from("1 'a' 1\n")],
    ['that ends early', compressed("1 'a' 1\n").subarray(0, -3)],
    ['that is empty', Buffer.alloc(0)],
    ['that would fill the memory', compressed(Buffer.alloc(17 << 20))],
  ])('%s is refused', (_what, content) => {
    withPackaged(content, (isolated) => {
      expect(thrown(() => isolated.world())).toMatchObject({
        name: 'WkvError',
        code: 'ERR_WKV_FORMAT',
        path: expect.stringMatching(/packaged\.br$/) as string,
        expected: 'at most 16777216 bytes of text, compressed with Brotli',
      });
    });
  });
});

describeWithWorld('the World vocabulary', () => {
  test('is parsed once', () => {
    withPackaged(compressed(worldText!), (isolated) => {
      const world = isolated.world();
      expect(isolated.world()).toBe(world);
      expect(world.size).toBe(65_536);
    });
  });

  test('is recognized as editors leave it, and then has the ids of World models too', () => {
    withDirectory((directory) => {
      const text = worldText!.toString('utf8');
      for (const variant of [text.replaceAll('\n', '\r\n'), text.trimEnd(), `\ufeff${text}`, `${text}\n`]) {
        const path = join(directory, 'vocabulary.txt');
        writeFileSync(path, variant);
        const tokenizer = Tokenizer.fromVocabulary(path);
        expect(tokenizer.size).toBe(65_536);
        expect(Array.from(tokenizer.encode('Hello World!\r\n'))).toEqual([33_155, 37_576, 34, 263]);
      }
    });
  });

  test('is found beside a model that has all of its ids, and only there', () => {
    withDirectory((directory) => {
      writeFileSync(join(directory, 'rwkv_vocab_v20230424.txt'), worldText!);
      const model = join(directory, 'model.pth');
      writeFileSync(model, '');
      expect(findTokenizer(model, 65_536)?.size).toBe(65_536);
      expect(findTokenizer(directory, 65_530)?.size).toBe(65_536);
      expect(findTokenizer(model, 65_529)).toBeUndefined();
      expect(findTokenizer(model, 256)?.size).toBe(256);
    });
  });

  test('is found in the package for a model of its size', () => {
    withDirectory((directory) => {
      const expected = existsSync(worldVocabularyPath) ? Tokenizer.world() : undefined;
      expect(findTokenizer(join(directory, 'model.pth'), 65_536)).toBe(expected);
      expect(findTokenizer(join(directory, 'model.pth'), 65_537)).toBeUndefined();
      expect(findTokenizer(join(directory, 'model.pth'), 50_277)).toBeUndefined();
    });
  });
});

describe('the search beside a model', () => {
  test('takes vocab.txt where it is a vocabulary of this format', () => {
    withDirectory((directory) => {
      for (const text of ["1 'a' 1\n2 'ab' 2\n", "\ufeff1 'a' 1\n2 'ab' 2\n\n"]) {
        writeFileSync(join(directory, 'vocab.txt'), text);
        expect(Array.from(findTokenizer(join(directory, 'model.pth'), 300)!.encode('aba'))).toEqual([2, 1]);
      }
    });
  });

  test('takes a vocabulary with as many ids as the model, and none with more', () => {
    withDirectory((directory) => {
      writeFileSync(join(directory, 'vocab.txt'), "1 'a' 1\n2 'ab' 2\n");
      expect(findTokenizer(join(directory, 'model.pth'), 3)?.size).toBe(3);
      expect(findTokenizer(join(directory, 'model.pth'), 2)).toBeUndefined();
    });
  });

  test('passes by a vocab.txt of another program', () => {
    withDirectory((directory) => {
      for (const content of ['', '[PAD]\n[UNK]\nthe\n', '{"a": 1}', "x 'a' 1\n"]) {
        writeFileSync(join(directory, 'vocab.txt'), content);
        expect(findTokenizer(join(directory, 'model.pth'), 300)).toBeUndefined();
      }
    });
  });

  test('passes by a vocab.txt that cannot be read, and says so of a vocabulary by its name', () => {
    const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    const found = (name: string): unknown => {
      let result: unknown;
      withDirectory((directory) => {
        writeFileSync(join(directory, name), "1 'a' 1\n");
        // Who tests as root may read everything.
        const open = jest.spyOn(fs, 'openSync').mockImplementation(() => {
          throw denied;
        });
        try {
          result = findTokenizer(join(directory, 'model.pth'), 300);
        } finally {
          expect(open).toHaveBeenCalledTimes(1);
          open.mockRestore();
        }
      });
      return result;
    };
    expect(found('vocab.txt')).toBeUndefined();
    expect(thrown(() => found('rwkv_vocab_v20230424.txt'))).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      message: expect.stringMatching(/rwkv_vocab_v20230424\.txt.*permission denied/) as string,
      cause: denied,
    });
  });

  test('passes by folders that are called like vocabularies', () => {
    withDirectory((directory) => {
      for (const name of ['rwkv_vocab_v20230424.txt', 'vocab.txt']) mkdirSync(join(directory, name));
      expect(findTokenizer(join(directory, 'model.pth'), 300)).toBeUndefined();
    });
  });

  unless(notOnLinux('only Linux has /proc'))('leaves no file open, whatever it finds', () => {
    const handles = (): number => readdirSync('/proc/self/fd').length;
    withDirectory((directory) => {
      const before = handles();
      for (const content of ["1 'a' 1\n", "1 'a' 2\n", 'of another program']) {
        for (const name of ['rwkv_vocab_v20230424.txt', 'vocab.txt']) {
          const path = join(directory, name);
          writeFileSync(path, content);
          try {
            findTokenizer(join(directory, 'model.pth'), 300);
          } catch (error) {
            expectFailure(error, { code: 'ERR_WKV_FORMAT', path });
          }
          rmSync(path);
        }
      }
      expect(handles()).toBe(before);
    });
  });

  test('refuses a damaged vocabulary instead of taking another', () => {
    withDirectory((directory) => {
      const path = join(directory, 'rwkv_vocab_v20230424.txt');
      writeFileSync(path, "1 'a' 2\n");
      expect(thrown(() => findTokenizer(join(directory, 'model.pth'), 256))).toMatchObject({
        code: 'ERR_WKV_FORMAT',
        path,
      });
    });
  });

  test('takes nothing for a World model where the package has no vocabulary', () => {
    withDirectory((directory) => {
      const exists = jest.spyOn(fs, 'existsSync').mockReturnValue(false);
      const world = jest.spyOn(Tokenizer, 'world');
      try {
        expect(findTokenizer(join(directory, 'model.pth'), 65_536)).toBeUndefined();
        expect(world).not.toHaveBeenCalled();
      } finally {
        exists.mockRestore();
        world.mockRestore();
      }
    });
  });

  test('is where the file is, though its path ends with a slash', () => {
    withDirectory((directory) => {
      const model = join(directory, 'model.pth');
      writeFileSync(model, '');
      writeFileSync(join(directory, 'vocab.txt'), "1 'a' 1\n2 'ab' 2\n");
      expect(findTokenizer(`${model}/`, 300)?.size).toBe(3);
    });
  });

  test('takes bytes for a model of 256 ids', () => {
    withDirectory((directory) => {
      expect(Array.from(findTokenizer(join(directory, 'model.pth'), 256)!.encode('é'))).toEqual([0xc3, 0xa9]);
    });
  });
});
