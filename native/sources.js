'use strict';

// Prints a list of sources.json, a value per line, for native/addon.gypi:
//   node native/sources.js core speed        the list at that place
//   node native/sources.js node-api          the include directories of node-addon-api and node-api-headers
const path = require('node:path');
const sources = require('./sources.json');

function select(place) {
  if (place[0] !== 'node-api') return place.reduce((list, key) => list[key], sources);
  return [require('node-addon-api').include_dir, path.relative('.', require('node-api-headers').include_dir)];
}

console.log(select(process.argv.slice(2)).join('\n'));
