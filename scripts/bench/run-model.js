'use strict';

// Load time, peak memory, and tokens per second of one model: alone, in batches, and beside a long prompt.
const { parseArgs } = require('node:util');
const { loadModel } = require('../..');
const { median, timed } = require('./timing');

const help = `Usage: node scripts/bench/run-model.js MODEL [--weights TYPE] [--threads N] [--prompt N] [--json]

Prints how long MODEL takes to load, how fast one session decodes (the median of 24 single tokens), how fast 16 sessions
do together, how fast a prompt is evaluated (N tokens, 512 by default), how long 4 sessions that decode wait at most
while a prompt of 4,096 tokens is evaluated beside them, in their usual steps, and how much memory the process had at
most.`;

const options = {
  weights: { type: 'string', default: 'auto' },
  threads: { type: 'string' },
  prompt: { type: 'string', default: '512' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

const rounds = 24;

/** Seconds of a step in which every session evaluates a token. */
function step(sessions, round, vocabulary) {
  return timed(() =>
    Promise.all(sessions.map((session, i) => session.evaluate([(round * 7919 + i * 104729) % vocabulary]))),
  );
}

/** Seconds of each of some steps, after two that do not count. */
async function decode(sessions, rounds, vocabulary) {
  const times = [];
  for (let round = 0; round < rounds + 2; round++) times.push(await step(sessions, round, vocabulary));
  return times.slice(2);
}

/** The longest step of sessions that decode while a prompt is evaluated, over their median step without it. */
async function gap(sessions, other, vocabulary) {
  const quiet = median(await decode(sessions, 8, vocabulary));
  let over = false;
  const prompt = Uint32Array.from({ length: 4096 }, (_, i) => (i * 31) % vocabulary);
  const call = other.evaluate(prompt, { logits: 'none' }).then(() => {
    over = true;
  });
  let longest = 0;
  for (let round = 0; !over; round++) longest = Math.max(longest, await step(sessions, round, vocabulary));
  await call;
  return longest / quiet;
}

async function measure(path, { weights, threads, prompt: length }) {
  let model;
  const load = await timed(async () => {
    model = await loadModel(path, {
      device: 'cpu',
      weights,
      ...(threads === undefined ? {} : { threads: Number(threads) }),
    });
  });
  const { info } = model;
  const { vocabulary } = info;
  const sessions = Array.from({ length: 17 }, () => model.createSession());
  const rate = async (count) => count / median(await decode(sessions.slice(0, count), rounds, vocabulary));
  const one = await rate(1);
  const sixteen = await rate(16);
  const text = Uint32Array.from({ length: Number(length) }, (_, i) => (i * 104729) % vocabulary);
  const prompts = [];
  for (let i = 0; i < 3; i++) {
    prompts.push(await timed(() => model.createSession().evaluate(text, { logits: 'none' })));
  }
  const prompt = Number(length) / median(prompts);
  // A token reads one row of the embedding, which int8 leaves in 16 bits, and all of the other weights.
  const width = info.weights === 'f32' ? 4 : 2;
  const read = info.weightBytes - vocabulary * info.embedding * width;
  const result = {
    weights: info.weights,
    isa: info.isa,
    parameters: info.parameters,
    weightBytes: info.weightBytes,
    loadSeconds: load,
    decodeTokensPerSecond: one,
    decodeBytesPerSecond: read * one,
    decodeTokensPerSecond16: sixteen,
    promptTokensPerSecond: prompt,
    // Two for each weight but those of the embedding, and of the head, which prompts leave out.
    promptOperationsPerSecond: 2 * (info.parameters - 2 * vocabulary * info.embedding) * prompt,
    longestGapInSteps: await gap(sessions.slice(0, 4), sessions[16], vocabulary),
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  await model.dispose();
  return result;
}

async function main() {
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help || positionals.length !== 1) {
    console.log(help);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const result = await measure(positionals[0], values);
  if (values.json) {
    console.log(JSON.stringify(result));
    return;
  }
  for (const [name, value] of Object.entries(result)) {
    const shown = typeof value === 'number' ? Number(value.toPrecision(4)).toLocaleString('en-US') : value;
    console.log(`${name.padEnd(26)} ${shown}`);
  }
}

void main();
