import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { evaluate, root, run } from './support';

interface Packed {
  readonly filename: string;
  readonly files: readonly { path: string }[];
}

let folder: string;
let installed: string;
let files: string[];

// What npm would publish, laid out as npm would install it, beside the dependencies that a user gets.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'wkv-package-'));
  const { status, output } = run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    {
      env: { ...process.env, npm_config_loglevel: 'silent' },
    },
  );
  if (status !== 0) throw new Error(output);
  const packed = (JSON.parse(output.slice(output.indexOf('['))) as Packed[])[0];
  if (packed === undefined) throw new Error(output);
  files = packed.files.map((file) => file.path);
  const extracted = run('tar', ['-xzf', join(folder, packed.filename), '-C', folder]);
  if (extracted.status !== 0) throw new Error(extracted.output);
  installed = join(folder, 'package');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('what is published holds the entry points, their types, the licence and all that a source build needs', () => {
  expect(files).toEqual(
    expect.arrayContaining([
      ...['LICENSE', 'README.md', 'binding.gyp', 'package.json'],
      ...['dist/cli/main.js', 'dist/index.js', 'dist/index.d.ts', 'dist/index.mjs', 'dist/index.d.mts'],
      ...['native/sources.json', 'native/sources.js', 'native/nodedir/include/node/common.gypi'],
    ]),
  );
});

test('what is published holds no tests, no scripts and no TypeScript sources', () => {
  const unwanted = /^(test|scripts|docs|lib|out|build|native\/test|\.ci)\/|(?<!\.d)\.m?ts$|\.tsbuildinfo$/;
  expect(files.filter((file) => unwanted.test(file))).toEqual([]);
});

test('what is published builds from source without a network and without settings of npm, and loads', () => {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_|proxy$/i.test(name)));
  // As npm runs it: config.node_gyp of package.json arrives as a variable. A home without .npmrc, a proxy that
  // nothing answers at.
  const closed = 'http://127.0.0.1:9';
  const offline = {
    HOME: folder,
    JOBS: 'max',
    npm_package_config_node_gyp_nodedir: 'native/nodedir',
    http_proxy: closed,
    https_proxy: closed,
  };
  const gyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  const { status, output } = run(process.execPath, [gyp, 'rebuild', '--loglevel=error'], {
    cwd: installed,
    env: { ...env, ...offline },
  });
  expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
  // Headers that were downloaded, or were there already, would be under here.
  expect(existsSync(join(folder, '.cache'))).toBe(false);
  const names = evaluate(`console.log(Object.keys(require(${JSON.stringify(installed)})).join())`, {
    cwd: folder,
  });
  expect(names).toContain('loadModel');
}, 600_000);
