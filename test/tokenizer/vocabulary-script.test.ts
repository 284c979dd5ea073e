import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { WORLD_VOCABULARY_NAME, WORLD_VOCABULARY_SHA256 } from '../../lib/tokenizer';
import { describeWithWorld, withDirectory, worldPath } from './support';

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

function installedHash(checkout: string): string {
  const bytes = readFileSync(join(checkout, 'vocabulary', WORLD_VOCABULARY_NAME));
  return createHash('sha256').update(bytes).digest('hex');
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
      expect(output).toContain(`WKV_VOCABULARY=/path/to/${WORLD_VOCABULARY_NAME} npm run vocabulary`);
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
      expect(run().output).toContain(`expected the SHA-256 ${WORLD_VOCABULARY_SHA256}`);
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
      writeFileSync(source, readFileSync(worldPath!, 'utf8').replaceAll('\n', '\r\n'));
      expect(run([], source).status).toBe(0);
      expect(installedHash(checkout)).toBe(WORLD_VOCABULARY_SHA256);
      expect(readFileSync(join(checkout, 'vocabulary/NOTICE'), 'utf8')).toMatch(
        /BlinkDL[^]*Apache License 2\.0/,
      );
      expect(readdirSync(join(checkout, 'vocabulary')).sort()).toEqual(['NOTICE', WORLD_VOCABULARY_NAME]);
    });
  });

  test('finds the file that lies beside the checkout', () => {
    withCheckout((checkout, run) => {
      const shared = resolve(checkout, '../shared/vocabulary');
      mkdirSync(shared, { recursive: true });
      cpSync(worldPath!, join(shared, WORLD_VOCABULARY_NAME));
      expect(run(['--required']).status).toBe(0);
      expect(installedHash(checkout)).toBe(WORLD_VOCABULARY_SHA256);
    });
  });

  test('downloads it otherwise, and leaves alone what is in place', () => {
    withCheckout(
      (checkout, run) => {
        expect(run(['--required']).output).toContain('1093733 bytes from https://');
        expect(installedHash(checkout)).toBe(WORLD_VOCABULARY_SHA256);
        expect(run().output).toContain('is in place');
      },
      `return new Response(require('node:fs').readFileSync(${JSON.stringify(worldPath)}));`,
    );
  });

  test('replaces a file that is damaged', () => {
    withCheckout((checkout, run) => {
      run([], worldPath);
      writeFileSync(join(checkout, 'vocabulary', WORLD_VOCABULARY_NAME), 'damaged');
      expect(run([], worldPath).status).toBe(0);
      expect(installedHash(checkout)).toBe(WORLD_VOCABULARY_SHA256);
    });
  });
});
