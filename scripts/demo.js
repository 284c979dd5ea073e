'use strict';

require('./lib/require-node').requireNode();

const { build } = require('./lib/build');
const { runNode, runScript } = require('./lib/run');
const { buildTools, ensureModules, ensureTools } = require('./lib/setup');

const help = `Usage: npm run demo

Sets everything up (node_modules, compiler, build), then runs examples/demo.mjs on the embedded model: it streams a
generation, forks the session and continues it two ways, saves, reloads and resumes it.`;

function demo() {
  ensureTools(buildTools);
  ensureModules();
  build();
  runNode('examples/demo.mjs', []);
}

if (process.argv.includes('--help')) console.log(help);
else void runScript(demo);
