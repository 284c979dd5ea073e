'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root, run } = require('./run');

// Alpine's Node is neither on npm nor in Debian. But musl is in Debian, and its loader starts the Node that is built with
// glibc, once that has the few functions that musl lacks. So the addon for musl is loaded by musl, and has its memory,
// its files, and its threads with their small stacks.

const loader = '/lib/ld-musl-x86_64.so.1';

const muslTools = [{ name: 'musl', present: () => fs.existsSync(loader) }];

/** The command and its first arguments that run a program of glibc with musl. */
function withMusl() {
  const folder = path.join(root, 'out/musl');
  fs.mkdirSync(folder, { recursive: true });
  // Under the name of glibc's loader, which its programs and libraries ask for and musl does not have.
  const functions = path.join(folder, 'ld-linux-x86-64.so.2');
  const source = path.join(root, 'scripts/lib/glibc-on-musl.c');
  // With glibc's headers, but bound to nothing: what it calls is in musl, too.
  run('gcc', [
    '-shared',
    '-fPIC',
    '-O1',
    '-fno-builtin',
    '-nostdlib',
    '-Wall',
    '-Wextra',
    '-o',
    functions,
    source,
  ]);
  for (const name of ['libstdc++.so.6', 'libgcc_s.so.1']) {
    const file = run('gcc', [`-print-file-name=${name}`], { capture: true }).trim();
    fs.copyFileSync(fs.realpathSync(file), path.join(folder, name));
  }
  return [loader, '--library-path', folder];
}

module.exports = { muslTools, withMusl };
