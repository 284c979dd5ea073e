'use strict';

require('./lib/require-node').requireNode();

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { jobs } = require('./lib/build');
const { buildNative } = require('./lib/native');
const { root, run, runNode } = require('./lib/run');
const { checkTools, ensureModules, ensureTools } = require('./lib/setup');

const help = `Usage: npm run bench [-- SHAPE... --weights TYPE,... --rounds N --json]

Measures models of published shapes with random weights, each figure beside the ceiling of the same minutes: what the
memory can be read at, and what the processor's products of bytes can do. Rounds are interleaved: ceilings, then each
model in each precision, and again. Prints medians and, in brackets, quartiles.

  SHAPE      0.4B, 1.5B, 3B or 7B; default 0.4B 1.5B. Their files are kept in out/bench (1, 3, 6 and 15 GB).
  --weights  default int8,bf16
  --rounds   default 3
  --threads  default 2: how many read and compute for the ceilings; models take what they may use

Example: npm run bench -- 1.5B --weights int8`;

const figures = [
  ['loadSeconds', 's to load', 1],
  ['decodeTokensPerSecond', 'tokens/s, one session', 1],
  ['ofRead', 'of the read ceiling', 1],
  ['decodeTokensPerSecond16', 'tokens/s, 16 sessions', 1],
  ['promptTokensPerSecond', 'tokens/s of a prompt', 1],
  ['ofDot', 'of the ceiling of products', 1],
  ['longestGapInSteps', 'steps at most beside a prompt', 1],
  ['overWeights', 'MB over the weights', 1e6],
];

function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((part) => sorted[Math.round(part * (sorted.length - 1))]);
}

function buildBench() {
  const { tests } = buildNative({ name: 'gcc', compiler: 'g++' });
  const build = path.dirname(tests);
  run('cmake', ['--build', build, '--target', 'wkv_bench', '--parallel', jobs], { capture: true });
  return path.join(build, 'wkv_bench');
}

function modelFile(shape) {
  const file = path.join(root, 'out/bench', `${shape}.safetensors`);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  if (!fs.existsSync(file)) {
    runNode('scripts/bench/synthetic-model.js', [shape, `${file}.part`]);
    fs.renameSync(`${file}.part`, file);
  }
  return file;
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      weights: { type: 'string', default: 'int8,bf16' },
      rounds: { type: 'string', default: '3' },
      threads: { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return;
  }
  const unknown = positionals.filter((shape) => !['0.4B', '1.5B', '3B', '7B'].includes(shape));
  if (unknown.length > 0) {
    console.error(`Does not know the shape ${unknown.join(', ')}\n\n${help}`);
    process.exitCode = 2;
    return;
  }
  ensureTools(checkTools);
  ensureModules();
  runNode('scripts/build.js', [], { capture: true });
  const bench = buildBench();
  const shapes = positionals.length > 0 ? positionals : ['0.4B', '1.5B'];
  const files = shapes.map(modelFile);
  const results = new Map();
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, shape] of shapes.entries()) {
      for (const weights of values.weights.split(',')) {
        const ceilings = JSON.parse(run(bench, ['ceilings', values.threads], { capture: true }));
        const args = [files[i], '--weights', weights, '--json'];
        const found = JSON.parse(runNode('scripts/bench/run-model.js', args, { capture: true }));
        const name = `${shape} ${weights}`;
        results.set(name, [
          ...(results.get(name) ?? []),
          {
            ...found,
            ceilings,
            ofRead: found.decodeBytesPerSecond / ceilings.read,
            ofDot: found.promptOperationsPerSecond / ceilings.dot,
            overWeights: found.peakBytes - found.weightBytes,
          },
        ]);
      }
    }
  }
  if (values.json) {
    console.log(JSON.stringify(Object.fromEntries(results), null, 1));
    return;
  }
  for (const [name, rounds] of results) {
    const { isa, weightBytes } = rounds[0];
    console.log(`\n${name}, ${(weightBytes / 2 ** 30).toFixed(2)} GiB, ${isa}`);
    for (const [key, unit, divisor] of figures) {
      const [low, middle, high] = quartiles(rounds.map((round) => round[key] / divisor)).map((value) =>
        Number(value.toPrecision(3)),
      );
      console.log(`  ${String(middle).padStart(8)} ${unit} [${low} - ${high}]`);
    }
  }
}

try {
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
