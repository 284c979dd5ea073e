'use strict';

require('./lib/require-node').requireNode();

const { build } = require('./lib/build');
const { runScript } = require('./lib/run');

const help = `Usage: npm run build

Makes everything that a checkout needs to be required: the tokenizer's vocabulary, the addon
(build/Release/wkv.node) and dist/. What is up to date is left as it is. Needs node_modules (npm ci), a C++20
compiler, make and Python 3; downloads nothing but the vocabulary.`;

if (process.argv.includes('--help')) console.log(help);
else void runScript(build);
