'use strict';

// Prints a list of sources.json, a value per line, for native/addon.gypi:
//   node native/sources.js core speed            the list at that place
//   node native/sources.js together core speed   the same files, several as one: writes and prints build/together/*.cpp
//   node native/sources.js node-api              the include directories of node-addon-api and node-api-headers
const fs = require('node:fs');
const path = require('node:path');
const sources = require('./sources.json');

/** How many: half of a compiler's time goes into headers, which it then reads once; CMakeLists.txt has this, too. */
const filesTogether = 6;

function listAt(place) {
  return place.reduce((list, key) => list[key], sources);
}

function together(place) {
  const alone = listAt(place).filter((file) => sources.alone.includes(file));
  const others = listAt(place).filter((file) => !alone.includes(file));
  const units = [];
  while (others.length > 0) {
    // The directory native is where headers are looked for.
    const text = others
      .splice(0, filesTogether)
      .map((file) => `#include "${path.posix.relative('native', file)}"\n`)
      .join('');
    const unit = `build/together/${[...place, units.length + 1].join('_')}.cpp`;
    fs.mkdirSync(path.dirname(unit), { recursive: true });
    // What is not written anew is not compiled anew.
    if (!fs.existsSync(unit) || fs.readFileSync(unit, 'utf8') !== text) fs.writeFileSync(unit, text);
    units.push(unit);
  }
  return [...alone, ...units];
}

function select([first, ...rest]) {
  if (first === 'together') return together(rest);
  if (first !== 'node-api') return listAt([first, ...rest]);
  return [require('node-addon-api').include_dir, path.relative('.', require('node-api-headers').include_dir)];
}

console.log(select(process.argv.slice(2)).join('\n'));
