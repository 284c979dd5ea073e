'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root, run } = require('./run');

const version = '3.22.1';
/** Binaries of llama.cpp come in a package for each system. */
const packages = ['node-llama-cpp', '@node-llama-cpp/linux-x64'];

/** Where test/model/llama-cpp.slow.test.ts looks for it. */
const folder = path.join(root, 'out/llama.cpp');

/** Installs node-llama-cpp for tests, in a folder of its own (85 MB). It is another program: its scripts do not run. */
function installLlamaCpp() {
  if (packages.every(isThere)) return;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'];
  const wanted = packages.map((name) => `${name}@${version}`);
  run('npm', ['install', '--prefix', folder, ...quiet, ...wanted]);
}

function isThere(name) {
  const manifest = path.join(folder, 'node_modules', name, 'package.json');
  return fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest, 'utf8')).version === version;
}

module.exports = { installLlamaCpp };
