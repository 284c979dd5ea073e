'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { crossBuild } = require('./cross-build');
const { outdated } = require('./files');
const { root, run } = require('./run');
const { responds } = require('./setup');

const mingwTools = [
  { name: 'cmake', present: () => responds('cmake') },
  { name: 'make', present: () => responds('make') },
  { name: 'g++-mingw-w64-x86-64-posix', present: () => responds('x86_64-w64-mingw32-g++-posix') },
];

const out = 'out/mingw';
const toolchain = 'native/windows/mingw-x64.cmake';
const importLibrary = `${out}/node-api.a`;

/** The functions of Node-API as a library to link with: they are looked up in the host when they are first called. */
function buildImportLibrary() {
  const inputs = ['node_modules/.package-lock.json', 'package.json', 'scripts/lib/mingw.js'];
  if (!outdated(importLibrary, inputs)) return;
  const [version] = require('../../package.json').binary.napi_versions;
  const names = Object.values(require('node-api-headers').symbols[`v${version}`]).flat();
  const definition = path.join(root, out, 'node-api.def');
  fs.mkdirSync(path.dirname(definition), { recursive: true });
  fs.writeFileSync(definition, `NAME node.exe\nEXPORTS\n${names.join('\n')}\n`);
  run('x86_64-w64-mingw32-dlltool', ['--input-def', definition, '--output-delaylib', importLibrary]);
}

/** Builds the addon for Windows on x64 with Debian's mingw-w64 and returns where it is, stripped. */
function buildWindows() {
  buildImportLibrary();
  return crossBuild({
    name: 'mingw',
    settings: {
      CMAKE_TOOLCHAIN_FILE: path.join(root, toolchain),
      CMAKE_JS_LIB: path.join(root, importLibrary),
    },
    inputs: [toolchain, importLibrary, 'scripts/lib/mingw.js'],
  });
}

module.exports = { buildWindows, mingwTools };
