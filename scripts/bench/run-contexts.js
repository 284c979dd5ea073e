'use strict';

// How fast one session decodes after contexts of different lengths, of wkv or of node-llama-cpp.
const { parseArgs } = require('node:util');
const { pathToFileURL } = require('node:url');
const { vocabulary } = require('./shapes');
const { median, timed } = require('./timing');

const help = `Usage: node scripts/bench/run-contexts.js MODEL [--contexts N,...] [--node-llama-cpp MODULE] [--threads N]

One session of MODEL reads a text and stops after each of N tokens (0, 2,048 and 8,192 by default, ascending) to decode
some. Prints as JSON for each N: where that is (later, if the last decoding has gone beyond it), the tokens a second that
it decodes there (the median step), the seconds that reading has taken until then, and the bytes that the process took
over the weights at most. With wkv in int8, or with the node-llama-cpp whose main file is MODULE.`;

const options = {
  contexts: { type: 'string', default: '0,2048,8192' },
  'node-llama-cpp': { type: 'string' },
  threads: { type: 'string', default: '2' },
  help: { type: 'boolean', default: false },
};

/** Tokens decoded after each context; the first two do not count. */
const rounds = 18;
const warmUp = 2;

const token = (i) => (i * 104_729) % vocabulary;

/** A session of wkv: `read` evaluates tokens, `decode` gives the seconds of single ones. */
async function openWkv(file, { threads }) {
  const { loadModel } = require('../..');
  const model = await loadModel(file, { device: 'cpu', weights: 'int8', threads });
  const session = model.createSession();
  return {
    weightBytes: model.info.weightBytes,
    read: (tokens) => session.evaluate(tokens, { logits: 'none' }),
    async decode() {
      const times = [];
      for (let i = 0; i < rounds; i++) times.push(await timed(() => session.evaluate([token(i)])));
      return times;
    },
    close: () => model.dispose(),
  };
}

/** The same of node-llama-cpp, with a KV cache for so many tokens. */
async function openLlama(file, { module, threads, tokens: contextSize }) {
  const { getLlama } = await import(pathToFileURL(module).href);
  const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ sequences: 1, contextSize, batchSize: 512, threads });
  const sequence = context.getSequence();
  return {
    weightBytes: model.size,
    read: (tokens) => sequence.evaluateWithoutGeneratingNewTokens(tokens),
    async decode() {
      const times = [];
      // Greedy, as the least that a sampler can do; the end of text ends nothing.
      const tokens = sequence.evaluate([token(1)], { temperature: 0, yieldEogToken: true });
      for (let i = 0; i < rounds; i++) times.push(await timed(() => tokens.next()));
      await tokens.return();
      return times;
    },
    close: () => llama.dispose(),
  };
}

async function measure(file, { contexts, module, threads }) {
  const most = contexts.at(-1) + rounds * contexts.length;
  const open = module === undefined ? openWkv : openLlama;
  const program = await open(file, { module, threads, tokens: most + 64 });
  const found = [];
  let seconds = 0;
  let position = 0;
  for (const wanted of contexts) {
    const context = Math.max(wanted, position);
    const tokens = Array.from({ length: context - position }, (_, i) => token(position + i));
    if (tokens.length > 0) seconds += await timed(() => program.read(tokens));
    const times = await program.decode();
    position = context + rounds;
    found.push({
      context,
      decodeTokensPerSecond: 1 / median(times.slice(warmUp)),
      readSeconds: seconds,
      overWeights: process.resourceUsage().maxRSS * 1024 - program.weightBytes,
    });
  }
  await program.close();
  return found;
}

async function main() {
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help || positionals.length !== 1) {
    console.log(help);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const contexts = values.contexts.split(',').map(Number);
  const threads = Number(values.threads);
  console.log(
    JSON.stringify(await measure(positionals[0], { contexts, threads, module: values['node-llama-cpp'] })),
  );
}

void main();
