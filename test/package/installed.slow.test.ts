import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { programs, projects, type Said } from './projects';
import { withoutPrebuild } from './registry';
import { evaluate, unless } from './support';

const { install, requests } = projects();
const dependencies = [
  ...['commander', 'cli-progress', 'node-addon-api', 'node-api-headers', 'node-gyp-build'],
  // What cli-progress needs.
  ...['string-width', 'strip-ansi', 'ansi-regex', 'emoji-regex', 'is-fullwidth-code-point'],
];

describe('npm install, with an empty cache and no network but a registry of the dependencies', () => {
  test('takes from it each runtime dependency once, and nothing else', async () => {
    const before = requests.length;
    const { directory } = await install('downloads');
    const versionOf = (name: string): string => {
      const text = readFileSync(join(directory, 'node_modules', name, 'package.json'), 'utf8');
      return (JSON.parse(text) as { version: string }).version;
    };
    const expected = dependencies.flatMap((name) => [
      `/${name}`,
      `/${name}/-/${name}-${versionOf(name)}.tgz`,
    ]);
    // Of optional peers npm asks for the description, and takes nothing.
    const peers = ['/wkv-cuda-linux-x64', '/wkv-cuda-win32-x64'];
    expect(requests.slice(before).sort()).toEqual([...expected, ...peers].sort());
  });

  test('takes up less than 5 MB beside the binaries, dependencies and all', async () => {
    const { directory } = await install('size');
    const files = readdirSync(join(directory, 'node_modules'), { recursive: true, encoding: 'utf8' });
    const others = files.filter((name) => !name.endsWith('.node'));
    const sizes = others.map((name) => statSync(join(directory, 'node_modules', name)));
    const total = sizes.reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
    expect(total).toBeGreaterThan(1_000_000);
    expect(total).toBeLessThan(5_000_000);
  });

  test('runs no script and compiles nothing, even where scripts are allowed', async () => {
    const { directory, installed } = await install('scripts', {}, [
      '--foreground-scripts',
      '--no-ignore-scripts',
    ]);
    // npm announces a script by "> name@version script".
    expect(installed).not.toMatch(/^> /m);
    expect(existsSync(join(directory, 'node_modules/wkv/build'))).toBe(false);
    const lock = readFileSync(join(directory, 'package-lock.json'), 'utf8');
    expect(lock).toContain('node_modules/wkv');
    expect(lock).not.toContain('hasInstallScript');
  });
});

unless(withoutPrebuild())(
  'the installed package says the same in a project of ES modules, in one of CommonJS, and as the checkout',
  async () => {
    const said: Said[] = [];
    for (const type of ['module', 'commonjs']) {
      const { node } = await install(type, { type });
      said.push(JSON.parse(await node('program.mjs', programs.esm)) as Said);
      said.push(JSON.parse(await node('program.cjs', programs.commonjs)) as Said);
    }
    const checkout = JSON.parse(evaluate(programs.esm, { esm: true })) as Said;
    expect(checkout.text).toMatch(/\w+ \w+/);
    expect(checkout.world).toEqual([33_155, 37_576, 34]);
    expect(said).toEqual([checkout, checkout, checkout, checkout]);
  },
);

unless(withoutPrebuild())('the installed command works, and finds nothing broken', async () => {
  const { npm } = await install('command');
  const output = await npm(['exec', '--', 'wkv', 'doctor']);
  expect(output).toMatch(/^ok +binary +.+node_modules\/wkv\/prebuilds\/\S+\.node$/m);
  expect(output).toMatch(/^ok +vocabulary /m);
  expect(output).toMatch(/\nNothing is broken\.\n$/);
});
