import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, root, run, temporaryFolder, unless } from './support';

const folder = temporaryFolder();

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

/** A 64-bit Mach-O file of two pages with nothing in it but an ad-hoc signature, as Apple's cs_blobs.h lays it out. */
function signedFile(): Buffer {
  const limit = 5008;
  const code = Buffer.alloc(limit, 7);
  code.writeUInt32LE(0xfeedfacf, 0);
  code.writeUInt32LE(1, 16);
  [0x1d, 16, limit, 20 + 108].forEach((value, i) => code.writeUInt32LE(value, 32 + 4 * i));
  const blob = Buffer.alloc(20);
  [0xfade0cc0, 20 + 108, 1, 0, 20].forEach((value, i) => blob.writeUInt32BE(value, 4 * i));
  const directory = Buffer.alloc(44);
  [0xfade0c02, 108, 0x20100, 2, 44, 0, 0, 2, limit].forEach((value, i) =>
    directory.writeUInt32BE(value, 4 * i),
  );
  directory.set([32, 2, 0, 12], 36);
  const pages = [code.subarray(0, 4096), code.subarray(4096)];
  return Buffer.concat([
    code,
    blob,
    directory,
    ...pages.map((page) => createHash('sha256').update(page).digest()),
  ]);
}

test('a signature of macOS is compared with every page of the file that it is in', () => {
  const problemsOf = (bytes: Buffer): unknown => {
    const file = join(folder, 'signed');
    writeFileSync(file, bytes);
    return JSON.parse(
      evaluate(`const { inspectCodeSignature } = require('./scripts/lib/code-signature');
        process.stdout.write(JSON.stringify(inspectCodeSignature(${JSON.stringify(file)})));`),
    );
  };
  expect(problemsOf(signedFile())).toEqual([]);
  const changed = signedFile();
  changed[5000]! ^= 1;
  expect(problemsOf(changed)).toEqual(['differs from its signature in page 1']);
  const unsigned = signedFile();
  unsigned.writeUInt32LE(0x2e, 32);
  expect(problemsOf(unsigned)).toEqual(['is not signed, not even ad hoc']);
});

describe('a prebuilt addon', () => {
  const all = join(root, 'prebuilds');
  const files = !existsSync(all)
    ? []
    : readdirSync(all).flatMap((tuple) =>
        readdirSync(join(all, tuple))
          .filter((name) => name.endsWith('.node'))
          .map((name) => ({ tuple, name, file: join(all, tuple, name) })),
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
  const mac = join(root, 'prebuilds/darwin-arm64/wkv.node');
  const noMac = !existsSync(mac) && 'there is no prebuilt addon for macOS (npm run prebuild)';

  unless(noMac || noReader)('a file for macOS that differs from its signature in one byte', () => {
    const bytes = readFileSync(mac);
    bytes[20_000]! ^= 1;
    const changed = join(folder, 'changed.node');
    writeFileSync(changed, bytes);
    expect(problems(changed, 'darwin-arm64')).toEqual(['differs from its signature in page 4']);
  });

  unless(noMac || noReader)('a file for macOS without a signature, or of a newer macOS', () => {
    const bytes = readFileSync(mac);
    // Commands of the header: LC_CODE_SIGNATURE becomes LC_LINKER_OPTIMIZATION_HINT, LC_BUILD_VERSION's lowest macOS 14.2.
    for (let at = 32, i = bytes.readUInt32LE(16); i > 0; i--) {
      if (bytes.readUInt32LE(at) === 0x1d) bytes.writeUInt32LE(0x2e, at);
      if (bytes.readUInt32LE(at) === 0x32) bytes.writeUInt32LE(0x0e_02_00, at + 12);
      at += bytes.readUInt32LE(at + 4);
    }
    const changed = join(folder, 'unsigned.node');
    writeFileSync(changed, bytes);
    const expected = [
      'is not signed, not even ad hoc',
      'needs macOS 14.2; 11.0 is the newest that is allowed',
    ];
    expect(problems(changed, 'darwin-arm64')).toEqual(expected);
  });

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

test('npm pack refuses binaries that were made of other sources', () => {
  const prebuilds = join(folder, 'prebuilds');
  const program = `const { hashOfInputs, stale } = require('./scripts/lib/prebuild');
    const fs = require('node:fs');
    const folder = ${JSON.stringify(prebuilds)};
    for (const [name, sources] of [['current', hashOfInputs()], ['old', 'another hash'], ['unknown']]) {
      fs.mkdirSync(folder + '/' + name, { recursive: true });
      fs.writeFileSync(folder + '/' + name + '/wkv.node', '');
      if (sources !== undefined) fs.writeFileSync(folder + '/' + name + '/wkv.node.sources', sources);
    }
    process.stdout.write(JSON.stringify(stale(folder)));`;
  expect(JSON.parse(evaluate(program))).toEqual([join('old', 'wkv.node'), join('unknown', 'wkv.node')]);
});
