import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, root, run, unless } from './support';

/** What `npm run prebuild` says of a file; for example `linux-x64` is what it should be. */
function problems(file: string, platform: string, libc = 'glibc'): string[] {
  const call = [file, platform, libc].map((value) => JSON.stringify(value)).join();
  return JSON.parse(
    evaluate(`const { inspectPrebuild } = require('./scripts/lib/gate');
      process.stdout.write(JSON.stringify(inspectPrebuild(${call})));`),
  ) as string[];
}

const noReader = run('llvm-readobj', ['--version']).status !== 0 && 'there is no llvm-readobj';
const built = join(root, 'build/Release/wkv.node');
const notHere =
  (process.platform !== 'linux' && 'this is not Linux') ||
  (!existsSync(built) && 'the addon is not built') ||
  noReader;
const platform = `linux-${process.arch}`;

describe('a prebuilt addon', () => {
  const folder = join(root, 'prebuilds');
  const files = !existsSync(folder)
    ? []
    : readdirSync(folder).flatMap((tuple) =>
        readdirSync(join(folder, tuple)).map((name) => ({ tuple, name, file: join(folder, tuple, name) })),
      );
  const none = files.length === 0 && 'there is nothing in prebuilds/ (npm run prebuild)';

  unless(none || noReader)('asks of the system only what every supported one has', () => {
    for (const { tuple, name, file } of files) {
      const libc = name.includes('musl') ? 'musl' : 'glibc';
      expect({ file, problems: problems(file, tuple, libc) }).toEqual({ file, problems: [] });
    }
  });

  unless(notHere)('is built for glibc 2.28 also by npm run build', () => {
    expect(problems(built, platform)).toEqual([]);
  });
});

describe('the inspection refuses', () => {
  unless(notHere)('a file of another platform', () => {
    const other = process.arch === 'x64' ? 'linux-arm64' : 'linux-x64';
    expect(problems(built, other)).toEqual([expect.stringMatching(/^expected elf64-\S+, found elf64-/)]);
    expect(problems(built, 'win32-x64')).toEqual([
      expect.stringMatching(/^expected COFF-x86-64, found elf64-/),
    ]);
  });

  unless(notHere)('versions of symbols where musl has none', () => {
    const found = problems(built, platform, 'musl');
    expect(found).toContainEqual(expect.stringMatching(/which musl does not have$/));
    expect(found).toContain('needs the library libc.so.6');
  });

  const libraries = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];
  const newer = libraries.map((folder) => join(folder, 'libstdc++.so.6')).find((file) => existsSync(file));
  unless(notHere || (newer === undefined && 'there is no libstdc++.so.6'))(
    'what is no addon and needs a newer glibc',
    () => {
      const found = problems(newer ?? '', platform);
      expect(found).toContainEqual(
        expect.stringMatching(/^needs \S+ of GLIBC_2\.\d+; GLIBC_2\.28 is the newest/),
      );
      expect(found).toContain('does not call Node-API');
      expect(found).toContain('does not export napi_register_module_v1');
      expect(found).toContainEqual(expect.stringMatching(/^exports /));
    },
  );
});
