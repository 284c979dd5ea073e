'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { inspectCodeSignature } = require('./code-signature');
const { root, run } = require('./run');

// What a prebuilt addon may ask of the system that it is loaded into. llvm-readobj (Debian's llvm) reads the formats
// of all platforms, so that every binary can be checked on one machine.

/** The oldest glibc and libstdc++ (that of gcc 8) that Node 20 and later run with. */
const newest = { GLIBC: [2, 28], GLIBCXX: [3, 4, 25], CXXABI: [1, 3, 11], GCC: [8] };

const formats = {
  'linux-x64': 'elf64-x86-64',
  'linux-arm64': 'elf64-littleaarch64',
  'win32-x64': 'COFF-x86-64',
  'darwin-x64': 'Mach-O 64-bit x86-64',
  'darwin-arm64': 'Mach-O arm64',
};

const libraries = {
  glibc:
    /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux-.*)$/,
  musl: /^(libc\.musl-\w+\.so\.1|libc\.so|libstdc\+\+\.so\.6|libgcc_s\.so\.1)$/,
  win32: /^(KERNEL32\.dll|msvcrt\.dll|ucrtbase\.dll|api-ms-win-crt-[\w-]+\.dll)$/i,
  // Its own name is among those that a library of macOS lists.
  darwin: /^(\/usr\/lib\/lib(System\.B|c\+\+\.1|c\+\+abi)\.dylib|@rpath\/wkv\.node)$/,
};

/** The oldest macOS that this is built for; Node 21 and later run on none that is older. */
const newestMac = [11, 0];

/** Node-API 8 without what Electron's memory cage forbids, and without what ties an addon to one libuv. */
function nodeApi() {
  const { symbols } = require(path.join(root, 'node_modules/node-api-headers'));
  const all = new Set([...symbols.v8.js_native_api_symbols, ...symbols.v8.node_api_symbols]);
  for (const name of [
    'napi_create_external_arraybuffer',
    'napi_create_external_buffer',
    'napi_get_uv_event_loop',
  ])
    all.delete(name);
  return all;
}

const isNodeApi = (name) => /^_?(napi_|node_api_)/.test(name);

function isNewer(version, limit) {
  const parts = version.split('.').map(Number);
  for (let i = 0; i < Math.max(parts.length, limit.length); i++) {
    const difference = (parts[i] ?? 0) - (limit[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** What a library of Linux takes from others: { libraries, symbols: [{ name, version }], exported }. */
function readElf(text) {
  const needed = /NeededLibraries \[([^\]]*)\]/.exec(text)?.[1] ?? '';
  const symbols = [];
  const exported = [];
  for (const [, body] of text.matchAll(/Symbol \{([^}]*)\}/g)) {
    const [, full = ''] = /Name: (\S+) \(/.exec(body) ?? [];
    if (full === '' || /Binding: Local/.test(body)) continue;
    const [name, version] = full.split(/@+/);
    if (/Section: Undefined/.test(body)) symbols.push({ name, version, weak: /Binding: Weak/.test(body) });
    else exported.push(name);
  }
  return { libraries: needed.split(/\s+/).filter(Boolean), symbols, exported };
}

function readCoff(text) {
  const found = { libraries: [], symbols: [], exported: [] };
  for (const [, kind, body] of text.matchAll(/^(Import|DelayImport|Export) \{\n(.*?)^\}/gms)) {
    const name = /Name: (\S+)/.exec(body)?.[1] ?? '';
    if (kind === 'Export') found.exported.push(name);
    else {
      if (kind === 'Import' || name.toLowerCase() !== 'node.exe') found.libraries.push(name);
      for (const [, symbol] of body.matchAll(/Symbol: (\S+)/g)) found.symbols.push({ name: symbol });
    }
  }
  return found;
}

/** The directory of delayed imports is empty in what mingw links; their names are in the file all the same. */
function delayedNames(file) {
  const names = fs.readFileSync(file, 'latin1').match(/(?<=\0)(napi_|node_api_)\w+(?=\0)/g) ?? [];
  return [...new Set(names)].map((name) => ({ name }));
}

function readMachO(text) {
  const named = text
    .replace(/Symbol \{[^}]*\}/g, (symbol) => (/^\s*Extern$/m.test(symbol) ? symbol : ''))
    .replaceAll('Section:  (0x0)', 'Section: Undefined');
  const { libraries: needed, symbols, exported } = readElf(named);
  const bare = (name) => name.replace(/^_/, '');
  return {
    libraries: needed,
    symbols: symbols.map(({ name }) => ({ name: bare(name) })),
    exported: exported.map(bare),
  };
}

function inspectMachO(file, platform, text) {
  const problems = platform === 'darwin-arm64' ? inspectCodeSignature(file) : [];
  const version = /MinVersion \{[^}]*?Version: ([\d.]+)/.exec(text)?.[1];
  if (version === undefined) problems.push('does not say which macOS it needs');
  else if (isNewer(version, newestMac))
    problems.push(`needs macOS ${version}; ${newestMac.join('.')} is the newest that is allowed`);
  return problems;
}

/**
 * What is wrong with a prebuilt addon, a sentence each; nothing where all is well.
 *
 * @param file its path
 * @param platform for example `linux-x64`
 * @param libc `glibc` or `musl` on Linux
 */
function inspectPrebuild(file, platform, libc = 'glibc') {
  const read = (options) => run('llvm-readobj', [...options, file], { capture: true });
  const [system] = platform.split('-');
  const format = /^Format: (.*)$/m.exec(read(['--file-headers']))?.[1];
  if (format !== formats[platform]) return [`expected ${formats[platform]}, found ${format}`];

  const problems = [];
  const found = {
    linux: () => readElf(read(['--needed-libs', '--dyn-syms'])),
    win32: () => {
      const { symbols, ...rest } = readCoff(read(['--coff-imports', '--coff-exports']));
      return { ...rest, symbols: [...symbols, ...delayedNames(file)] };
    },
    darwin: () => {
      problems.push(...inspectMachO(file, platform, read(['--macho-version-min'])));
      return readMachO(read(['--needed-libs', '--syms']));
    },
  }[system]();

  const allowed = libraries[system === 'linux' ? libc : system];
  for (const name of found.libraries) if (!allowed.test(name)) problems.push(`needs the library ${name}`);
  const known = nodeApi();
  const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
  for (const { name, version, weak } of found.symbols) {
    if (entries.includes(name)) continue;
    if (isNodeApi(name) && !known.has(name)) problems.push(`calls ${name}, which is not allowed`);
    if (system === 'linux' && libc === 'glibc' && version === undefined && !weak && !isNodeApi(name))
      problems.push(`needs ${name}, which no library of the system has`);
    const [, set, number] = /^(\w+?)_([\d.]+)$/.exec(version ?? '') ?? [];
    if (set === undefined) continue;
    if (libc === 'musl') problems.push(`needs ${name} of ${version}, which musl does not have`);
    else if (newest[set] === undefined || isNewer(number, newest[set]))
      problems.push(
        `needs ${name} of ${version}; ${set}_${newest[set]?.join('.')} is the newest that is allowed`,
      );
  }
  if (!found.symbols.some(({ name }) => known.has(name))) problems.push('does not call Node-API');
  for (const name of entries) if (!found.exported.includes(name)) problems.push(`does not export ${name}`);
  // On macOS also operator new and delete, of which a process has one, and where the file itself lies.
  const own = system === 'darwin' ? /^(_Z(nw|na|dl|da)\w*|__dso_handle|_mh_\w+_header)$/ : /^$/;
  for (const name of found.exported)
    if (system !== 'win32' && !entries.includes(name) && !own.test(name)) problems.push(`exports ${name}`);
  return problems;
}

module.exports = { inspectPrebuild };
