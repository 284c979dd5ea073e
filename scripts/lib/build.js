'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { outdated, walk } = require('./files');
const { root, run, runNode } = require('./run');

const jobs = String(os.availableParallelism());

function buildAddon() {
  // With its own tiny header directory node-gyp downloads nothing; on Windows it needs Node's node.lib.
  const nodedir = process.platform === 'win32' ? [] : ['--nodedir=native/nodedir'];
  const gyp = (...args) =>
    runNode('node_modules/node-gyp/bin/node-gyp.js', [...args, ...nodedir, '--loglevel=error'], {
      capture: true,
    });
  const inputs = [
    'binding.gyp',
    'native/addon.gypi',
    'native/sources.js',
    'native/sources.json',
    'node_modules/.package-lock.json',
  ];
  if (outdated('build/config.gypi', [...inputs, ...walk('native/nodedir')])) gyp('configure');
  gyp('build', '-j', jobs);
}

function compileTypeScript() {
  const stamp = 'out/dist-built';
  const sources = walk('lib', (name) => name.endsWith('.ts'));
  const configs = ['tsconfig.json', 'tsconfig.build.json', 'node_modules/.package-lock.json'];
  const expected = new Set(['dist/index.mjs', 'dist/index.d.mts']);
  for (const source of sources.filter((file) => !file.endsWith('.d.ts'))) {
    const stem = source.replace(/^lib\//, 'dist/').replace(/\.ts$/, '');
    expected.add(`${stem}.js`).add(`${stem}.d.ts`);
  }
  const present = walk('dist');
  const complete = present.length === expected.size && present.every((file) => expected.has(file));
  if (complete && !outdated(stamp, [...sources, ...configs, 'scripts/lib/build.js'])) return;

  runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.build.json']);
  for (const file of present) if (!expected.has(file)) fs.rmSync(path.join(root, file));
  writeModuleEntry();
  fs.chmodSync(path.join(root, 'dist/cli/main.js'), 0o755);
  fs.mkdirSync(path.join(root, 'out'), { recursive: true });
  fs.writeFileSync(path.join(root, stamp), '');
}

/** `import` gets the very classes that `require` gets: dist/index.mjs only names what dist/index.js exports. */
function writeModuleEntry() {
  const list = "console.log(Object.keys(require('./dist/index.js')).join(' '))";
  const names = run(process.execPath, ['-e', list], { capture: true }).trim().split(' ');
  const exported = names.map((name) => `  ${name},\n`).join('');
  fs.writeFileSync(
    path.join(root, 'dist/index.mjs'),
    `import wkv from './index.js';\n\nexport const {\n${exported}} = wkv;\n`,
  );
  fs.writeFileSync(path.join(root, 'dist/index.d.mts'), "export * from './index.js';\n");
}

function build() {
  console.log('Building the vocabulary, the addon and dist/');
  runNode('scripts/vocabulary.js', []);
  buildAddon();
  compileTypeScript();
}

module.exports = { build, jobs };
