import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pack, type Packed } from './registry';
import { evaluate, root, run, temporaryFolder } from './support';

const folder = temporaryFolder();
let packed: Packed;
let files: string[];

beforeAll(() => {
  packed = pack([root], folder)[0]!;
  files = packed.files.map(({ path }) => path);
});

/** The files below a directory of the checkout, by their paths from its top. */
const below = (directory: string): string[] =>
  readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(root.length + 1)
        .replaceAll('\\', '/'),
    );

const compiled = (): string[] => {
  const modules = below('lib').filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'));
  const stems = modules.map((path) => path.replace(/^lib/, 'dist').replace(/\.ts$/, ''));
  // Nobody imports the commands.
  const typed = stems.filter((stem) => !stem.startsWith('dist/cli/'));
  const entries = ['dist/index.mjs', 'dist/index.d.mts'];
  return [...stems.map((stem) => `${stem}.js`), ...typed.map((stem) => `${stem}.d.ts`), ...entries];
};

const sources = (): string[] => {
  const { alone, bench, onednn, test, emulated, cuda, ...list } = JSON.parse(
    readFileSync(join(root, 'native/sources.json'), 'utf8'),
  ) as Record<string, unknown[]>;
  // Named in the others, too.
  expect(alone).toBeDefined();
  expect(bench?.length).toBeGreaterThan(0);
  expect(test).toBeDefined();
  expect(onednn).toBeDefined();
  expect(emulated).toBeDefined();
  expect(cuda).toBeDefined();
  // The library of the CUDA backend is a package of its own: only its functions' declarations are needed.
  const unpublished =
    /^native\/(bench|gpu_check|kernels\/cuda|simt|test)\/|^native\/kernels\/\w+\/cuda\.h$|^native\/backend\/cuda\/(?!api\.h)/;
  const headers = below('native').filter((path) => /\.(h|map)$/.test(path) && !unpublished.test(path));
  return [
    ...['native/sources.json', 'native/sources.js', 'native/addon.gypi', 'native/compile.js'],
    ...below('native/nodedir'),
    ...(JSON.stringify(list).match(/native\/[\w/]+\.cpp/g) ?? []),
    ...headers,
  ];
};

describe('what is published', () => {
  test('is exactly the code, its types, the sources of the addon, the model, the vocabulary and the binaries', () => {
    const prebuilt = files.filter((path) => /^prebuilds\/\w+-\w+\/wkv(\.glibc|\.musl)?\.node$/.test(path));
    expect([...files].sort()).toEqual(
      [
        ...['LICENSE', 'THIRD-PARTY-NOTICES', 'README.md', 'README.zh-CN.md', 'package.json'],
        ...['models/README.md', 'models/wkv-demo.pth'],
        ...['vocabulary/NOTICE', 'vocabulary/rwkv_vocab_v20230424.txt.br'],
        ...compiled(),
        ...sources(),
        ...prebuilt,
      ].sort(),
    );
  });

  test('has every type that the public ones mention', () => {
    const declarations = ['dist/index.d.ts'];
    for (const declaration of declarations) {
      const text = readFileSync(join(root, declaration), 'utf8');
      for (const [, name = ''] of text.matchAll(/(?:from|import\()\s*['"](\.[^'"]+)['"]/g)) {
        const stem = join(declaration, '..', name).replaceAll('\\', '/');
        const target = [`${stem}.d.ts`, `${stem}/index.d.ts`].find((path) => files.includes(path));
        expect({ declaration, name, found: target !== undefined }).toEqual({
          declaration,
          name,
          found: true,
        });
        if (!declarations.includes(target!)) declarations.push(target!);
      }
    }
    expect(declarations.length).toBeGreaterThan(10);
  });

  test('is less than 4 MB on disk, and 1.6 MB for each binary', () => {
    const binaries = packed.files.filter(({ path }) => path.endsWith('.node')).map(({ size }) => size);
    expect(Math.max(0, ...binaries)).toBeLessThan(1_600_000);
    expect(packed.unpackedSize - binaries.reduce((sum, size) => sum + size, 0)).toBeLessThan(4_000_000);
  });

  test('has no script that npm would run when it is installed', () => {
    const { scripts, gypfile } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
      gypfile: boolean;
    };
    const run = [
      'preinstall',
      'install',
      'postinstall',
      'preprepare',
      'prepare',
      'postprepare',
      'dependencies',
    ];
    expect(Object.keys(scripts).filter((name) => run.includes(name))).toEqual([]);
    // Without this, npm compiles whatever has a binding.gyp; Yarn does so in any case.
    expect(gypfile).toBe(false);
    expect(files.filter((path) => path.endsWith('.gyp'))).toEqual([]);
  });

  test('has no complaint or suggestion of publint', () => {
    const program = `
      import { readFile } from 'node:fs/promises';
      import { publint } from 'publint';
      import { formatMessage } from 'publint/utils';
      const { buffer } = Uint8Array.from(await readFile(${JSON.stringify(join(folder, packed.filename))}));
      const { messages, pkg } = await publint({ pack: { tarball: buffer }, level: 'suggestion', strict: true });
      console.log(JSON.stringify({ checked: pkg.name, messages: messages.map((one) => formatMessage(one, pkg)) }));`;
    expect(JSON.parse(evaluate(program, { esm: true }))).toEqual({ checked: 'wkv', messages: [] });
  });

  test('has types that fit its code for every way of importing it, as attw says', () => {
    const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    const args = [attw, join(folder, packed.filename), '--format', 'json'];
    const { output } = run(process.execPath, args);
    const { analysis, problems } = JSON.parse(output) as {
      analysis: { packageName: string; types: unknown };
      problems: unknown;
    };
    expect({ analysis, problems }).toMatchObject({
      analysis: { packageName: 'wkv', types: { kind: 'included' } },
      problems: {},
    });
  });
});
