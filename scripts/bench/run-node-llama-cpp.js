'use strict';

// What run-model.js measures of wkv, of node-llama-cpp: the same figures by the same names.
const { statSync } = require('node:fs');
const { parseArgs } = require('node:util');
const { pathToFileURL } = require('node:url');
const { feedForward, shapes, vocabulary } = require('./shapes');
const { median, timed } = require('./timing');

const help = `Usage: node scripts/bench/run-node-llama-cpp.js MODULE SHAPE FILE [--threads N] [--prompt N]

Loads FILE (made by synthetic-gguf.js) with the node-llama-cpp whose main file is MODULE, on the CPU alone, and prints
as JSON: how fast one session and 16 sessions together generate (24 tokens each, or as many as 30 seconds allow; the
median step counts), how fast a prompt of N tokens (256 by default) is evaluated, how long loading takes, and the memory
at most.`;

const options = {
  threads: { type: 'string', default: '2' },
  prompt: { type: 'string', default: '256' },
  help: { type: 'boolean', default: false },
};

const sessions = 16;
const rounds = 24;
/** On a busy machine its threads wait for each other: then a few steps have to do. */
const patience = 30;
const fewestSteps = 5;

/** Seconds between the tokens of one sequence, without the first two. */
async function decode(sequence, token) {
  const times = [];
  // Greedy, as the least that a sampler can do; the end of text ends nothing.
  const tokens = sequence.evaluate([token], { temperature: 0, yieldEogToken: true });
  for (let seconds = 0; times.length < rounds + 2; seconds += times.at(-1)) {
    if (seconds > patience && times.length >= fewestSteps) break;
    times.push(await timed(() => tokens.next()));
  }
  await tokens.return();
  return times.slice(2);
}

async function measure({ module, shape, file, threads, prompt: length }) {
  const { getLlama } = await import(pathToFileURL(module).href);
  const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
  let model;
  const load = await timed(async () => {
    model = await llama.loadModel({ modelPath: file });
  });
  const context = await model.createContext({
    sequences: sessions,
    contextSize: 1024,
    batchSize: 512,
    threads,
  });
  const sequences = Array.from({ length: sessions }, () => context.getSequence());
  const one = 1 / median(await decode(sequences[0], 1));
  const steps = await Promise.all(sequences.map((sequence, i) => decode(sequence, 2 + i)));
  const together = steps.reduce((sum, times) => sum + 1 / median(times), 0);
  const text = Array.from({ length }, (_, i) => (i * 104_729) % vocabulary);
  const prompts = [];
  for (let i = 0; i < 3; i++) {
    await sequences[0].clearHistory();
    prompts.push(await timed(() => sequences[0].evaluateWithoutGeneratingNewTokens(text)));
  }
  const prompt = length / median(prompts);
  const { layers, embedding } = shapes[shape];
  const matrices = layers * (6 * embedding ** 2 + 2 * embedding * feedForward(embedding));
  const embeddingBytes = (vocabulary * embedding * 34) / 32;
  const weightBytes = statSync(file).size;
  const result = {
    weights: 'Q8_0',
    isa: llama.systemInfo.trim(),
    weightBytes,
    loadSeconds: load,
    decodeTokensPerSecond: one,
    decodeBytesPerSecond: (weightBytes - embeddingBytes) * one,
    decodeTokensPerSecond16: together,
    promptTokensPerSecond: prompt,
    promptOperationsPerSecond: 2 * matrices * prompt,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  await llama.dispose();
  return result;
}

async function main() {
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [module, shape, file] = positionals;
  if (values.help || positionals.length !== 3 || !Object.hasOwn(shapes, shape)) {
    console.log(help);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const numbers = { threads: +values.threads, prompt: +values.prompt };
  console.log(JSON.stringify(await measure({ module, shape, file, ...numbers })));
}

void main();
