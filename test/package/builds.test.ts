import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, root, run, temporaryFolder, unless } from './support';

interface Sources {
  readonly flags: string[];
  readonly core: { speed: string[]; size: string[] };
  readonly isa: Record<string, { cpu: 'any' | 'x64' | 'arm64'; sources: string[]; flags: string[] }>;
  readonly addon: string[];
  readonly bench: string[];
  readonly onednn: { own: string[]; shared: string[] };
  readonly emulated: string[];
  readonly cuda: Record<'simulated' | 'check' | 'test' | 'test_races' | 'test_library', string[]>;
  readonly test: Record<'main' | 'kernels' | 'threads' | 'others', string[]>;
}

const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const sources = JSON.parse(read('native/sources.json')) as Sources;
const groups = Object.entries(sources.isa);
const folder = temporaryFolder();

describe('the one list of sources', () => {
  test('names every C++ file of native/ exactly once', () => {
    const listed = [
      ...sources.core.speed,
      ...sources.core.size,
      ...sources.addon,
      ...sources.bench,
      ...sources.onednn.own,
      ...sources.emulated,
      ...Object.values(sources.test).flat(),
      ...sources.cuda.simulated,
      ...sources.cuda.check,
      ...sources.cuda.test,
      ...sources.cuda.test_races,
      ...sources.cuda.test_library,
      ...groups.flatMap(([, group]) => group.sources),
    ];
    const present = readdirSync(join(root, 'native'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.cpp'))
      .map((name) => `native/${name.replaceAll('\\', '/')}`);
    expect([...listed].sort()).toEqual(present.sort());
  });

  test('is the only place where native/addon.gypi and CMakeLists.txt get files, and both read it', () => {
    for (const description of ['native/addon.gypi', 'CMakeLists.txt']) {
      expect(read(description)).toContain('native/sources.json');
      expect(read(description)).not.toMatch(/\w\.(cpp|cc|c)\b/);
    }
  });

  test.each(['core speed', 'core size', 'addon'])(
    'is compiled by node-gyp whole, several files as one: %s',
    (name) => {
      const place = name.split(' ');
      const { output } = run(process.execPath, [join(root, 'native/sources.js'), 'together', ...place], {
        cwd: folder,
      });
      const compiled = output.trim().split('\n');
      const included = compiled.flatMap((file) =>
        file.startsWith('native/')
          ? [file]
          : Array.from(
              readFileSync(join(folder, file), 'utf8').matchAll(/^#include "(.+)"$/gm),
              ([, name]) => `native/${name}`,
            ),
      );
      const list = place.length === 1 ? sources.addon : sources.core[place[1] as 'speed' | 'size'];
      expect(included.sort()).toEqual([...list].sort());
      expect(compiled.length).toBeLessThan(list.length / 2);
    },
  );

  test('gives every instruction set its own library in native/addon.gypi, for its processor alone', () => {
    const gyp = JSON.parse(
      evaluate(`
        const { spawnSync } = require('node:child_process');
        const python = 'import ast, json, sys; print(json.dumps(ast.literal_eval(open("native/addon.gypi").read())))';
        process.stdout.write(spawnSync('python3', ['-c', python], { encoding: 'utf8' }).stdout);`),
    ) as {
      targets: { target_name: string }[];
      conditions: [string, { targets: { target_name: string }[] }][];
    };
    const found = [
      ...gyp.targets.map((target) => `any ${target.target_name}`),
      ...gyp.conditions.flatMap(([condition, { targets }]) =>
        targets.map((target) => `${/"(\w+)"/.exec(condition)?.[1] ?? ''} ${target.target_name}`),
      ),
    ];
    const expected = groups.map(([name, { cpu }]) => `${cpu} wkv_${name}`);
    expect(found.sort()).toEqual([...expected, 'any wkv', 'any wkv_speed'].sort());
  });

  test('never compiles for the processor that happens to build', () => {
    const flags = [...sources.flags, ...groups.flatMap(([, group]) => group.flags)];
    expect(flags.filter((flag) => flag.includes('native'))).toEqual([]);
    for (const description of ['native/addon.gypi', 'CMakeLists.txt'])
      expect(read(description)).not.toContain('march');
  });
});

test('scripts/gpu-check, which has no Node, compiles kernels with the flags that the published library has', () => {
  const flags = ['-std=c++20', '-O2', '--fmad=false', '--ftz=true', '-DWKV_WIDE_PRODUCTS', '-cudart'];
  const used = (file: string): string[] => flags.filter((flag) => read(file).includes(flag));
  expect(used('scripts/lib/cuda.js')).toEqual(flags);
  expect(used('scripts/gpu-check')).toEqual(flags);
});

describe('the addon', () => {
  const addon = 'build/Release/wkv.node';
  const objects = groups
    .filter(([, group]) => group.cpu === process.arch && group.flags.length > 0)
    .flatMap(([name, group]) =>
      group.sources.map((file) => ({
        name,
        object: `build/Release/obj.target/wkv_${name}/${file.replace(/\.cpp$/, '.o')}`,
      })),
    );
  const noObjects =
    (objects.length === 0 && 'no file of this processor has flags of its own') ||
    (objects.some(({ object }) => !existsSync(join(root, object))) && 'the addon is not built') ||
    (run('nm', ['--version']).status !== 0 && 'there is no nm');

  unless(noObjects)('shares no function between files compiled for different instruction sets', () => {
    // The linker keeps one copy of a weak function: one compiled for AVX-512 could then run, and crash, anywhere.
    // Only what carries the instruction set in its name (namespace wkv::avx2) is no other file's.
    for (const { name, object } of objects) {
      const { status, output } = run('nm', ['--defined-only', '--demangle', object]);
      expect(status).toBe(0);
      const shared = output.split('\n').filter(
        (line) =>
          / [WuV] /.test(line) &&
          !line.includes('DW.ref.') &&
          // Some generic lambdas are more than nm can make readable.
          !line.includes(`wkv::${name}::`) &&
          !line.includes(`N3wkv${name.length}${name}`),
      );
      expect({ object, shared }).toEqual({ object, shared: [] });
    }
  });

  unless(
    (process.platform !== 'linux' && 'this is not Linux') ||
      (!existsSync(join(root, addon)) && 'the addon is not built') ||
      (run('nm', ['--version']).status !== 0 && 'there is no nm'),
  )('shows other libraries of the process nothing but its two entry points', () => {
    const { output } = run('nm', ['--dynamic', '--defined-only', addon]);
    const names = output
      .trim()
      .split('\n')
      .map((line) => line.split(' ').at(-1));
    expect(names.sort()).toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });
});
