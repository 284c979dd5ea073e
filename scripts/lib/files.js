'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { root } = require('./run');

/** All files below a directory of the checkout whose name passes, as paths relative to the top, sorted. */
function walk(directory, accept = () => true) {
  const absolute = path.join(root, directory);
  if (!fs.existsSync(absolute)) return [];
  return fs
    .readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && accept(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort();
}

/** When a file was last changed, in milliseconds; 0 where it does not exist. */
function modified(file) {
  return fs.statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Whether a target is missing or older than one of its inputs. */
function outdated(target, inputs) {
  const time = modified(target);
  return time === 0 || inputs.some((input) => modified(input) > time);
}

module.exports = { walk, modified, outdated };
