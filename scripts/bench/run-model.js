'use strict';

// Load time, peak memory, and tokens per second of one model: single tokens, and a prompt.
const { loadModel } = require('../..');

const help = `Usage: node scripts/bench/run-model.js MODEL [--tokens N] [--prompt N] [--threads N] [--weights TYPE]

Prints how long MODEL takes to load, how much memory the process then had at most, how fast it decodes (N single
tokens, 32 by default; the median counts), and how fast it takes in a prompt (N tokens, 512 by default).`;

function option(name, otherwise) {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function main() {
  const path = process.argv[2];
  if (path === undefined || path === '--help') {
    console.log(help);
    return;
  }
  const threads = option('--threads');
  const start = performance.now();
  const model = await loadModel(path, {
    weights: option('--weights', 'auto'),
    ...(threads === undefined ? {} : { threads: Number(threads) }),
  });
  const { info } = model;
  const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  console.log(`load      ${((performance.now() - start) / 1000).toFixed(1)} s`);
  console.log(`weights   ${gib(info.weightBytes)} as ${info.weights}, ${info.parameters} parameters`);
  console.log(`peak      ${gib(process.resourceUsage().maxRSS * 1024)} resident`);

  const session = model.createSession();
  const times = [];
  const tokens = Number(option('--tokens', 32));
  for (let i = 0; i < tokens + 2; i++) {
    const before = performance.now();
    await session.evaluate([(i * 7919) % info.vocabulary], { logits: 'none' });
    if (i >= 2) times.push(performance.now() - before);
  }
  // A token reads one row of the embedding, and all of the other weights.
  const width = info.weights === 'f32' ? 4 : 2;
  const read = info.weightBytes - info.vocabulary * info.embedding * width;
  const each = median(times);
  console.log(
    `decode    ${(1000 / each).toFixed(2)} tokens/s, ${(read / each / 1e6).toFixed(1)} GB/s of weights`,
  );

  const length = Number(option('--prompt', 512));
  const prompt = Uint32Array.from({ length }, (_, i) => (i * 104729) % info.vocabulary);
  const before = performance.now();
  await model.createSession().evaluate(prompt, { logits: 'none' });
  const seconds = (performance.now() - before) / 1000;
  const operations = (2 * (info.parameters - 2 * info.vocabulary * info.embedding) * length) / seconds;
  console.log(
    `prompt    ${(length / seconds).toFixed(1)} tokens/s, ${(operations / 1e9).toFixed(0)} GFLOP/s`,
  );
  console.log(`peak      ${gib(process.resourceUsage().maxRSS * 1024)} resident`);
  await model.dispose();
}

void main();
