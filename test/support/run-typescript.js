'use strict';

// node run-typescript.js FILE.ts [arguments]: runs a TypeScript file in a process of its own, as jest would in its.
// What a file is translated to is kept in out/typescript, by its content: tests begin hundreds of workers.

const { createHash } = require('node:crypto');
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { join, resolve } = require('node:path');
const { threadId } = require('node:worker_threads');

const kept = join(__dirname, '../../out/typescript');
const swc = require('@swc/core/package.json').version;

function translate(source, filename) {
  const { transformSync } = require('@swc/core');
  return transformSync(source, {
    filename,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  }).code;
}

/** Whole or not at all: others may be reading. */
function keep(path, code) {
  const unfinished = `${path}.${process.pid}-${threadId}`;
  try {
    mkdirSync(kept, { recursive: true });
    writeFileSync(unfinished, code);
    renameSync(unfinished, path);
  } catch (error) {
    // Where a checkout may not be written to, every process translates for itself.
    if (!['EACCES', 'EROFS'].includes(error.code)) throw error;
  }
}

require.extensions['.ts'] = (module, filename) => {
  const source = readFileSync(filename, 'utf8');
  const hash = createHash('sha256')
    .update(JSON.stringify([swc, filename, source]))
    .digest('hex');
  const path = join(kept, `${hash}.js`);
  let code;
  try {
    code = readFileSync(path, 'utf8');
  } catch {
    code = translate(source, filename);
    keep(path, code);
  }
  module._compile(code, filename);
};

process.argv.splice(1, 1);
require(resolve(process.argv[1]));
