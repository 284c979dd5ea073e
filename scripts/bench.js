'use strict';

require('./lib/require-node').requireNode();

const { parseArgs } = require('node:util');

const { modelFile } = require('./bench/models');
const { buildOneDnn, findNodeLlamaCpp, runNodeLlamaCpp, runOneDnn } = require('./bench/peers');
const { shapes: knownShapes } = require('./bench/shapes');
const { runNode, runScript } = require('./lib/run');
const { buildTools, ensureModules, ensureTools } = require('./lib/setup');

const help = `Usage: npm run bench [-- SHAPE... --weights TYPE,... --rounds N --json]

Measures models of published shapes with random weights, each figure beside the ceiling of the same minutes (what the
memory can be read at, what the processor's products of bytes can do) and beside other programs, where they are
installed: node-llama-cpp with an RWKV-6 of the same size, oneDNN with products of single matrices. Rounds are
interleaved: ceilings, then each model in each precision, and again. Prints medians and, in brackets, quartiles.

  SHAPE             0.4B, 1.5B, 3B or 7B; default 0.4B 1.5B. Their files are kept in out/bench (1, 3, 6 and 15 GB, and
                    0.5, 2, 3 and 8 GB for node-llama-cpp).
  --weights         default int8,bf16
  --rounds          default 3
  --threads         default 2
  --node-llama-cpp  a folder where "npm install node-llama-cpp" was run; default the current one
  --alone           leaves the others out
  --json            prints everything that was measured

Example: npm run bench -- 1.5B --weights int8 --node-llama-cpp ../peer`;

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

const precisions = ['f32', 'f16', 'bf16', 'int8', 'int4'];

/** Tokens of a prompt, for all. */
const promptTokens = '512';

function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((part) => sorted[Math.round(part * (sorted.length - 1))]);
}

/** What this machine can do at most: bytes read a second, and operations in products of bytes. */
async function measureCeilings(threads) {
  const { native } = require('../dist/native');
  return { read: await native.measureRead(threads), dot: await native.measurePeak('int8', threads) };
}

/** A measurement with its ceilings, those of the same minute. */
function withCeilings(found, ceilings) {
  return {
    ...found,
    ceilings,
    ofRead: found.decodeBytesPerSecond / ceilings.read,
    // The portable form has no ceiling that is known.
    ...(ceilings.dot > 0 ? { ofDot: found.promptOperationsPerSecond / ceilings.dot } : {}),
    overWeights: found.peakBytes - found.weightBytes,
  };
}

/** Rounds of all models, by what was measured. */
async function measureModels({ shapes, weights, rounds, threads, llama }) {
  const results = {};
  const common = ['--threads', threads, '--prompt', promptTokens];
  const add = async (name, found) => {
    const ceilings = await measureCeilings(Number(threads));
    (results[name] ??= []).push(withCeilings(found(), ceilings));
  };
  const files = shapes.map(modelFile);
  for (let round = 0; round < rounds; round++) {
    for (const [i, shape] of shapes.entries()) {
      for (const type of weights) {
        const args = [files[i], '--weights', type, ...common, '--json'];
        await add(`${shape} ${type}`, () =>
          JSON.parse(runNode('scripts/bench/run-model.js', args, { capture: true })),
        );
      }
      if (llama !== undefined) {
        await add(`${shape} node-llama-cpp ${llama.version}, RWKV-6 in Q8_0`, () =>
          runNodeLlamaCpp(llama, shape, common),
        );
      }
    }
  }
  return results;
}

const digits = (value) => Number(value.toPrecision(3));

function printModels(results) {
  for (const [name, rounds] of Object.entries(results)) {
    const { isa, weightBytes } = rounds[0];
    console.log(`\n${name}, ${(weightBytes / 2 ** 30).toFixed(2)} GiB, ${isa}`);
    for (const [key, unit, divisor] of figures.filter(([key]) => key in rounds[0])) {
      const [low, middle, high] = quartiles(rounds.map((round) => round[key] / divisor)).map(digits);
      console.log(`  ${String(middle).padStart(8)} ${unit} [${low} - ${high}]`);
    }
  }
}

/** Billions of operations a second; of a few tokens, billions of bytes of weights, which are half as many. */
function printProducts(products) {
  for (const { rows, columns, tokens, isa, onednn, ...found } of products) {
    const few = tokens < 8;
    console.log(
      `\n${rows} x ${columns}, ${tokens} tokens, ${few ? 'GB/s of weights' : 'billion operations/s'}`,
    );
    const ceiling = found[few ? 'readBytesPerSecond' : 'peakOperationsPerSecond'];
    const lines = [
      ['ceiling', ceiling, 1],
      [`wkv, ${isa}`, found.wkv, few ? 2 : 1],
      [`oneDNN ${onednn}, u8s8`, found.u8s8, few ? 2 : 1],
      [`oneDNN ${onednn}, s8s8`, found.s8s8, few ? 2 : 1],
    ];
    for (const [name, spread, divisor] of lines) {
      const [low, middle, high] = [spread.lower, spread.median, spread.upper].map((value) =>
        digits(value / divisor / 1e9),
      );
      console.log(`  ${String(middle).padStart(8)} ${name} [${low} - ${high}]`);
    }
  }
}

async function bench() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      weights: { type: 'string', default: 'int8,bf16' },
      rounds: { type: 'string', default: '3' },
      threads: { type: 'string', default: '2' },
      'node-llama-cpp': { type: 'string' },
      alone: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return;
  }
  const wrong = [
    ...positionals.filter((shape) => !Object.hasOwn(knownShapes, shape)),
    ...values.weights.split(',').filter((type) => !precisions.includes(type)),
    ...[values.rounds, values.threads].filter((count) => !/^[1-9]\d*$/.test(count)),
  ];
  if (wrong.length > 0) {
    console.error(`Cannot take ${wrong.map((value) => `"${value}"`).join(', ')}\n\n${help}`);
    process.exitCode = 2;
    return;
  }
  ensureTools(buildTools);
  ensureModules();
  runNode('scripts/build.js', [], { capture: true });
  const llama = values.alone ? undefined : findNodeLlamaCpp(values['node-llama-cpp']);
  const oneDnn = values.alone ? undefined : buildOneDnn();
  const { threads } = values;
  const models = await measureModels({
    shapes: positionals.length > 0 ? positionals : ['0.4B', '1.5B'],
    weights: values.weights.split(','),
    rounds: Number(values.rounds),
    threads,
    llama,
  });
  const products = oneDnn === undefined ? [] : runOneDnn(oneDnn, threads);
  if (values.json) {
    console.log(JSON.stringify({ models, products }, null, 1));
    return;
  }
  printModels(models);
  printProducts(products);
  if (values.alone) return;
  if (llama === undefined) {
    console.log(
      '\nnode-llama-cpp was left out: it is not installed. "npm install node-llama-cpp" in any folder,',
    );
    console.log('and --node-llama-cpp FOLDER');
  }
  if (oneDnn === undefined) {
    console.log('\noneDNN was left out: it is not installed. Debian and Ubuntu have it as libdnnl-dev.');
  }
}

void runScript(bench);
