'use strict';

require('./lib/require-node').requireNode();

const { formatEverything } = require('./lib/format');
const { runScript } = require('./lib/run');

const help = `Usage: npm run format

Formats everything in place: TypeScript, JavaScript, JSON and Markdown with prettier, C and C++ with clang-format 14,
Python with black 23.`;

if (process.argv.includes('--help')) console.log(help);
else void runScript(formatEverything);
