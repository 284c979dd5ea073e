'use strict';

// Files with random weights in out/bench, written where they are not there yet.
const fs = require('node:fs');
const path = require('node:path');

const { root, runNode } = require('../lib/run');

function file(name, script, shape) {
  const target = path.join(root, 'out/bench', name);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  if (!fs.existsSync(target)) {
    runNode(script, [shape, `${target}.part`]);
    fs.renameSync(`${target}.part`, target);
  }
  return target;
}

/** RWKV-5.2 in bf16, for wkv. */
const modelFile = (shape) => file(`${shape}.safetensors`, 'scripts/bench/synthetic-model.js', shape);

/** RWKV-6 or a Transformer in Q8_0, for node-llama-cpp. */
const ggufFile = (shape) => file(`${shape}.gguf`, 'scripts/bench/synthetic-gguf.js', shape);

module.exports = { ggufFile, modelFile };
