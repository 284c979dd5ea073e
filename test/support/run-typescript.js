'use strict';

// node run-typescript.js FILE.ts [arguments]: runs a TypeScript file in a process of its own, as jest would in its.

const { readFileSync } = require('node:fs');
const { resolve } = require('node:path');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  });
  module._compile(code, filename);
};

process.argv.splice(1, 1);
require(resolve(process.argv[1]));
