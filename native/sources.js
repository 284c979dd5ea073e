'use strict';

// Prints one list of sources.json, a value per line, for native/addon.gypi:
//   node native/sources.js core | addon | test | include | defines | flags
//   node native/sources.js isa NAME | isa-flags NAME | node-api
const path = require('node:path');
const sources = require('./sources.json');

function select([what, name]) {
  switch (what) {
    case 'isa':
      return sources.isa[name].sources;
    case 'isa-flags':
      return sources.isa[name].flags;
    case 'node-api':
      return [
        require('node-addon-api').include_dir,
        path.relative('.', require('node-api-headers').include_dir),
      ];
    default:
      return sources[what];
  }
}

console.log(select(process.argv.slice(2)).join('\n'));
