'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root, run } = require('./run');

/** The binary of llama.cpp has its version, and is made for this system alone of those where tests run. */
const version = '3.22.1';
const packages = [`node-llama-cpp@${version}`, `@node-llama-cpp/linux-x64@${version}`];

/** Where test/model/llama-cpp.slow.test.ts looks for it. */
const folder = path.join(root, 'out/llama.cpp');

/** Installs node-llama-cpp for tests, in a folder of its own: it is another program, and 85 MB. No script of it runs. */
function installLlamaCpp() {
  const manifest = path.join(folder, 'node_modules/node-llama-cpp/package.json');
  if (fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest, 'utf8')).version === version) return;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'];
  run('npm', ['install', '--prefix', folder, ...quiet, ...packages]);
}

module.exports = { installLlamaCpp };
