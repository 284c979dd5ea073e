'use strict';

const { parseArgs } = require('node:util');

const { runNode } = require('../lib/run');
const { ggufFile, modelFile } = require('./models');
const { findNodeLlamaCpp, lastLine } = require('./peers');
const { transformers } = require('./shapes');

const help = `Usage: node scripts/bench/contexts.js [--contexts N,...] [--sessions N] [--node-llama-cpp FOLDER] [--threads N]
           [--json]

How fast sessions decode after contexts of different lengths: wkv with the shape of RWKV-5.2 1.5B in int8, and beside
it, where node-llama-cpp is installed, Transformers of about that size in Q8_0, one after the other. All have random
weights; their files are kept in out/bench (3 GB for wkv, and 3 GB). Contexts of many thousand tokens take Transformers
minutes. Needs "npm run build".

  --contexts        default 0,2048,8192; ascending
  --sessions        how many decode together, each with such a context; default 1. Transformers need room for all of
                    them (SmolLM2's shape 192 KiB for each token of each session)
  --node-llama-cpp  a folder where "npm install node-llama-cpp" was run; default the current one
  --threads         default 2
  --json            prints everything that was measured

Example: node scripts/bench/contexts.js --contexts 0,1024,32768 --node-llama-cpp ../peer`;

const options = {
  contexts: { type: 'string', default: '0,2048,8192' },
  sessions: { type: 'string', default: '1' },
  'node-llama-cpp': { type: 'string' },
  threads: { type: 'string', default: '2' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

function measure(file, args) {
  return JSON.parse(lastLine(runNode('scripts/bench/run-contexts.js', [file, ...args], { capture: true })));
}

function measureAll({ contexts, sessions, threads, ...values }) {
  const llama = findNodeLlamaCpp(values['node-llama-cpp']);
  const args = ['--contexts', contexts, '--sessions', sessions, '--threads', threads];
  const results = { 'wkv, RWKV-5.2 1.5B in int8': measure(modelFile('1.5B'), args) };
  if (llama === undefined) {
    console.error('node-llama-cpp was left out: it is not installed in that folder');
    return results;
  }
  for (const shape of Object.keys(transformers)) {
    results[`node-llama-cpp ${llama.version}, ${shape} in Q8_0`] = measure(ggufFile(shape), [
      ...args,
      ...['--node-llama-cpp', llama.module],
    ]);
  }
  return results;
}

/** Says what is wrong with the numbers; nothing where they can be measured. */
function mistake({ contexts, ...numbers }) {
  const counts = contexts.split(',').map(Number);
  const ascend = counts.every((count, i) => Number.isInteger(count) && count > (counts[i - 1] ?? -1));
  if (!ascend) return `--contexts: expected whole numbers that ascend, found ${contexts}`;
  for (const name of ['sessions', 'threads']) {
    const found = numbers[name];
    if (!/^[1-9]\d*$/.test(found)) return `--${name}: expected a number from 1 on, found ${found}`;
  }
  return undefined;
}

function print(results) {
  const text = (value) => String(Number(value.toPrecision(3)));
  for (const [name, rows] of Object.entries(results)) {
    console.log(`\n${name}`);
    for (const { context, decodeTokensPerSecond, readSeconds, overWeights } of rows) {
      console.log(
        `  after ${context.toLocaleString('en-US')} tokens: ${text(decodeTokensPerSecond)} tokens/s; the context took ${text(readSeconds)} s, ${text(overWeights / 1e6)} MB over the weights`,
      );
    }
  }
}

function main() {
  const { values } = parseArgs({ options });
  if (values.help) {
    console.log(help);
    return;
  }
  const wrong = mistake(values);
  if (wrong !== undefined) {
    console.error(wrong);
    process.exitCode = 2;
    return;
  }
  const results = measureAll(values);
  if (values.json) console.log(JSON.stringify(results, null, 1));
  else print(results);
}

try {
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
