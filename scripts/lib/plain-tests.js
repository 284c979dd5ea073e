'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { outdated, walk } = require('./files');
const { root } = require('./run');

/** What tests use beside lib/ and test/: what is large, */
const linked = ['node_modules', 'models', 'vocabulary'];
/** and what finds others by where it lies itself, which for a link would be the checkout. */
const copied = ['package.json', 'README.md', 'README.zh-CN.md', 'dist', 'docs', 'examples', 'scripts'];

/**
 * The tests and lib/ as plain JavaScript in out/NAME/wkv, a tree like the checkout, with `prebuild` as the only addon.
 * For a Node of another platform: node_modules has the native parts of swc and jest only for this one. Returns the
 * folder.
 */
function plainTests({ name, prebuild }) {
  const tree = path.join('out', name, 'wkv');
  const { transform } = require('../../jest.config.js');
  const [, { jsc, ...others }] = transform['^.+\\.ts$'];
  // As @swc/jest has it: jest.mock() goes before the imports.
  const options = { ...others, jsc: { ...jsc, transform: { ...jsc?.transform, hidden: { jest: true } } } };
  const { transformSync } = require('@swc/core');
  const sources = ['lib', 'test'].flatMap((folder) => walk(folder, (file) => !file.endsWith('.d.ts')));
  const expected = new Set();
  for (const source of sources) {
    const target = path.join(tree, source.replace(/\.ts$/, '.js'));
    expected.add(target);
    if (!outdated(target, [source, 'jest.config.js', 'scripts/lib/plain-tests.js'])) continue;
    const absolute = path.join(root, source);
    const text = fs.readFileSync(absolute, 'utf8');
    const code = source.endsWith('.ts')
      ? transformSync(text, { filename: absolute, swcrc: false, ...options }).code
      : text;
    write(target, source === 'test/support/run-typescript.js' ? runner : code);
  }
  for (const file of ['lib', 'test'].flatMap((folder) => walk(path.join(tree, folder))))
    if (!expected.has(file)) fs.rmSync(path.join(root, file));

  for (const entry of copied) {
    const target = path.join(root, tree, entry);
    fs.rmSync(target, { recursive: true, force: true });
    fs.cpSync(path.join(root, entry), target, { recursive: true });
  }
  for (const entry of linked) link(path.join(root, entry), path.join(root, tree, entry));
  // Files that tests look for beside a checkout.
  link(path.join(root, '../shared'), path.join(root, tree, '../shared'));
  const addon = path.join(root, tree, prebuild);
  fs.rmSync(path.join(root, tree, 'prebuilds'), { recursive: true, force: true });
  fs.mkdirSync(path.dirname(addon), { recursive: true });
  fs.copyFileSync(path.join(root, prebuild), addon);
  write(path.join(tree, 'resolver.js'), resolver);
  write(path.join(tree, 'jest.config.js'), config);
  return path.join(root, tree);
}

/** In place of test/support/run-typescript.js: the file is there as JavaScript. */
const runner = `'use strict';
process.argv.splice(1, 1);
require(require('node:path').resolve(process.argv[1].replace(/\\.ts$/, '.js')));
`;

/**
 * In place of unrs-resolver, the native part of jest, which has a binary for every platform: what Node itself finds.
 * jest takes it where NAPI_RS_NATIVE_LIBRARY_PATH says so.
 */
const resolver = `'use strict';
const { createRequire } = require('node:module');
const { join } = require('node:path');

class ResolverFactory {
  sync(folder, request) {
    try {
      return { path: createRequire(join(folder, 'any.js')).resolve(request) };
    } catch (error) {
      return { error: error.message };
    }
  }
  async(folder, request) {
    return Promise.resolve(this.sync(folder, request));
  }
  cloneWithOptions() {
    return this;
  }
  clearCache() {}
}

module.exports = { ResolverFactory };
`;

const config = `'use strict';
const { transform, ...common } = require('../../../jest.config.js');
module.exports = {
  ...common,
  testMatch: ['**/*.test.js'],
  transform: {},
  watchman: false,
};
`;

function write(file, text) {
  fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  fs.writeFileSync(path.join(root, file), text);
}

function link(target, at) {
  if (fs.existsSync(target) && !fs.existsSync(at)) fs.symlinkSync(target, at);
}

module.exports = { plainTests };
