import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { worldVocabularyName, worldVocabularySha256 } from '../../lib/tokenizer';
import { describeWithWorld, withDirectory, worldText } from './support';

const root = resolve(__dirname, '../..');

interface Outcome {
  status: number | null;
  output: string;
}

/** A checkout of nothing but the script, with nothing beside it, whose network is the body of `fetch`. */
function withCheckout(
  use: (checkout: string, run: (args?: string[], source?: string) => Outcome) => void,
  fetch = 'throw new TypeError("fetch failed", { cause: new Error("no network") });',
): void {
  withDirectory((directory) => {
    const checkout = join(directory, 'checkout');
    mkdirSync(join(checkout, 'scripts/lib'), { recursive: true });
    for (const file of ['package.json', 'scripts/vocabulary.js', 'scripts/lib/require-node.js']) {
      cpSync(join(root, file), join(checkout, file));
    }
    const network = join(directory, 'network.js');
    writeFileSync(network, `globalThis.fetch = async () => { ${fetch} };`);
    use(checkout, (args = [], source = '') => {
      const result = spawnSync(process.execPath, ['--require', network, 'scripts/vocabulary.js', ...args], {
        cwd: checkout,
        env: { ...process.env, WKV_VOCABULARY: source },
        encoding: 'utf8',
      });
      return { status: result.status, output: result.stdout + result.stderr };
    });
  });
}

const fileName = `${worldVocabularyName}.br`;

function installedHash(checkout: string): string {
  const text = brotliDecompressSync(readFileSync(join(checkout, 'vocabulary', fileName)));
  return createHash('sha256').update(text).digest('hex');
}

/** Writes the text of the vocabulary into a file, whose path it returns. */
function writeWorld(directory: string): string {
  const path = join(directory, worldVocabularyName);
  mkdirSync(directory, { recursive: true });
  writeFileSync(path, worldText!);
  return path;
}

describe('npm run vocabulary', () => {
  test('explains itself', () => {
    withCheckout((_checkout, run) => {
      const { status, output } = run(['--help']);
      expect(status).toBe(0);
      expect(output).toContain('Usage: npm run vocabulary');
      expect(output).toContain('WKV_VOCABULARY');
    });
  });

  test('refuses arguments that it does not know', () => {
    withCheckout((_checkout, run) => {
      expect(run(['--force'])).toMatchObject({
        status: 2,
        output: expect.stringContaining('--force') as string,
      });
    });
  });

  test('warns where the vocabulary can not be had, and says what to do', () => {
    withCheckout((checkout, run) => {
      const { status, output } = run();
      expect(status).toBe(0);
      expect(output).toMatch(/^Warning: .*fetch failed \(no network\)/);
      expect(output).toContain(`WKV_VOCABULARY=/path/to/${worldVocabularyName} npm run vocabulary`);
      expect(existsSync(join(checkout, 'vocabulary'))).toBe(false);
    });
  });

  test('fails there where it is required', () => {
    withCheckout((_checkout, run) => {
      expect(run(['--required'])).toMatchObject({
        status: 1,
        output: expect.stringMatching(/^Error: /) as string,
      });
    });
  });

  test('installs nothing that has another hash', () => {
    withCheckout((checkout, run) => {
      expect(run().output).toContain(`expected the SHA-256 ${worldVocabularySha256}`);
      expect(existsSync(join(checkout, 'vocabulary'))).toBe(false);
      const wrong = join(checkout, 'wrong.txt');
      writeFileSync(wrong, "1 'a' 1\n");
      // A file that was named and is wrong is a mistake, not an absence.
      expect(run([], wrong)).toMatchObject({ status: 1, output: expect.stringContaining(wrong) as string });
      expect(run([], join(checkout, 'absent.txt')).status).toBe(1);
      expect(existsSync(join(checkout, 'vocabulary'))).toBe(false);
    }, 'return new Response("1 \'a\' 1\\n");');
  });

  test.each([
    ['an error of the server', 'return new Response("", { status: 404 });', '404'],
    [
      'an answer without end',
      'return new Response(new Blob(Array(9).fill("x".repeat(1e6))));',
      'more than 4000000',
    ],
  ])('survives %s', (_what, fetch, message) => {
    withCheckout((_checkout, run) => {
      expect(run()).toMatchObject({ status: 0, output: expect.stringContaining(message) as string });
    }, fetch);
  });
});

describeWithWorld('npm run vocabulary with the vocabulary', () => {
  test('installs the file that WKV_VOCABULARY names, with LF ends and a notice of its origin', () => {
    withCheckout((checkout, run) => {
      const source = join(checkout, 'crlf.txt');
      writeFileSync(source, worldText!.toString('utf8').replaceAll('\n', '\r\n'));
      expect(run([], source).status).toBe(0);
      expect(installedHash(checkout)).toBe(worldVocabularySha256);
      expect(readFileSync(join(checkout, 'vocabulary/NOTICE'), 'utf8')).toMatch(
        /BlinkDL[^]*Apache License 2\.0[^]*compressed with Brotli/,
      );
      expect(readdirSync(join(checkout, 'vocabulary')).sort()).toEqual(['NOTICE', fileName]);
    });
  });

  test('finds the file that lies beside the checkout', () => {
    withCheckout((checkout, run) => {
      writeWorld(resolve(checkout, '../shared/vocabulary'));
      expect(run(['--required']).status).toBe(0);
      expect(installedHash(checkout)).toBe(worldVocabularySha256);
    });
  });

  test('downloads it otherwise, and leaves alone what is in place', () => {
    withCheckout((checkout, run) => {
      writeWorld(join(checkout, 'upstream'));
      expect(run(['--required']).output).toContain('1093733 bytes from https://');
      expect(installedHash(checkout)).toBe(worldVocabularySha256);
      expect(run().output).toContain('is in place');
    }, `return new Response(require('node:fs').readFileSync('upstream/${worldVocabularyName}'));`);
  });

  test('replaces a file that is damaged', () => {
    withCheckout((checkout, run) => {
      mkdirSync(join(checkout, 'vocabulary'));
      writeFileSync(join(checkout, 'vocabulary/NOTICE'), '');
      writeFileSync(join(checkout, 'vocabulary', fileName), 'damaged');
      expect(run([], writeWorld(checkout))).toMatchObject({
        status: 0,
        output: expect.stringContaining(`${fileName} is damaged`) as string,
      });
      expect(installedHash(checkout)).toBe(worldVocabularySha256);
    });
  });
});
