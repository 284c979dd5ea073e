'use strict';

// Refuses a Node that is too old. Written so that even a very old Node can read it, and required before anything else.
var engines = require('../../package.json').engines.node;

function parse(version) {
  return version.split('.').map(Number);
}

function atLeast(version, minimum) {
  for (var i = 0; i < 3; i++) {
    var difference = (version[i] || 0) - (minimum[i] || 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

// `range` knows the two forms that package.json uses: ^MAJOR.MINOR.PATCH and >=VERSION, joined by ||.
function satisfies(version, range) {
  var found = parse(version);
  return range.split('||').some(function (part) {
    var match = /^(\^|>=)([\d.]+)$/.exec(part.trim());
    if (!match) throw new Error('cannot read "' + part + '" in engines.node of package.json');
    var minimum = parse(match[2]);
    return atLeast(found, minimum) && (match[1] === '>=' || found[0] === minimum[0]);
  });
}

exports.satisfies = satisfies;

exports.requireNode = function () {
  if (satisfies(process.versions.node, engines)) return;
  console.error('This needs Node ' + engines + '; this is Node ' + process.versions.node + '.');
  console.error(
    'Get a current one from https://nodejs.org/en/download, or with a version manager, for example:'
  );
  console.error('  nvm install 24 && nvm use 24');
  process.exit(1);
};
