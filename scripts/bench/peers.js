'use strict';

// Those beside whom wkv is measured: programs that the user has installed, never dependencies.
const fs = require('node:fs');
const path = require('node:path');

const { buildTargets, configureNative } = require('../lib/native');
const { run, runNode } = require('../lib/run');
const { responds } = require('../lib/setup');
const { ggufFile } = require('./models');

/** Matrices of 7B, and how many tokens are multiplied with them. */
const products = [
  { rows: 4096, columns: 4096 },
  { rows: 14_336, columns: 4096 },
];
const tokens = ['1', '16', '128', '256'];

/**
 * The main file and version of a node-llama-cpp that can be reached from a folder, by default the one that the command
 * was typed in; undefined where there is none.
 */
function findNodeLlamaCpp(folder = process.env.INIT_CWD ?? process.cwd()) {
  let module;
  try {
    module = require.resolve('node-llama-cpp', { paths: [path.resolve(folder)] });
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
  const root = module.slice(0, module.lastIndexOf('node-llama-cpp') + 'node-llama-cpp'.length);
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  return { module, version };
}

/** The last line of an output: llama.cpp may write lines of its own. */
const lastLine = (output) => output.trim().split('\n').at(-1);

/** Measures an RWKV-6 of one shape. */
function runNodeLlamaCpp({ module }, shape, args) {
  const all = [module, shape, ggufFile(shape), ...args];
  return JSON.parse(lastLine(runNode('scripts/bench/run-node-llama-cpp.js', all, { capture: true })));
}

/** Builds the comparison with oneDNN; undefined where it, or cmake, is not installed. */
function buildOneDnn() {
  if (!responds('cmake')) return undefined;
  const build = `${configureNative()}/build`;
  // It may have been installed since the build was configured.
  run('cmake', [build], { capture: true });
  const target = 'wkv_bench_onednn';
  const known = run('cmake', ['--build', build, '--target', 'help'], { capture: true });
  if (!known.includes(target)) return undefined;
  return path.join(buildTargets([target]), target);
}

/** Spreads of products per second of wkv and of oneDNN, by matrix and number of tokens. */
function runOneDnn(program, threads) {
  return products.flatMap(({ rows, columns }) => {
    const args = [threads, String(rows), String(columns), ...tokens];
    const output = run(program, args, { capture: true, env: { OMP_NUM_THREADS: threads } });
    return output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  });
}

module.exports = { buildOneDnn, findNodeLlamaCpp, lastLine, runNodeLlamaCpp, runOneDnn };
