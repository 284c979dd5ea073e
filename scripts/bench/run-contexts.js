'use strict';

// How fast sessions decode after contexts of different lengths, of wkv or of node-llama-cpp.
const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { pathToFileURL } = require('node:url');
const { vocabulary } = require('./shapes');
const { median, timed } = require('./timing');

const help = `Usage: node scripts/bench/run-contexts.js MODEL [--contexts N,...] [--sessions N] [--node-llama-cpp MODULE]
           [--threads N]

One session of MODEL reads a text and stops after each of N tokens (0, 2,048 and 8,192 by default, ascending) to decode
some, together with copies of itself, in so many sessions (1 by default). Prints as JSON for each N: where that is
(later, if the last decoding has gone beyond it), the tokens a second that all decode there (the median step), the
seconds that reading has taken until then, and the bytes that the process took over the weights at most. With wkv in
int8, or with the node-llama-cpp whose main file is MODULE.`;

const options = {
  contexts: { type: 'string', default: '0,2048,8192' },
  sessions: { type: 'string', default: '1' },
  'node-llama-cpp': { type: 'string' },
  threads: { type: 'string', default: '2' },
  help: { type: 'boolean', default: false },
};

/** Tokens decoded after each context; the first two do not count. */
const rounds = 18;
const warmUp = 2;

const token = (i) => (i * 104_729) % vocabulary;

/** The seconds of rounds in which every session decodes a token. */
async function timeRounds(decoders) {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    times.push(await timed(() => Promise.all(decoders.map((decode) => decode(i)))));
  }
  return times;
}

/** Sessions of wkv: `read` evaluates tokens in the first, `decode` copies it and gives the seconds of rounds of all. */
async function openWkv(file, { threads, sessions }) {
  const { loadModel } = require('../..');
  const model = await loadModel(file, { device: 'cpu', weights: 'int8', threads });
  const session = model.createSession();
  return {
    weightBytes: model.info.weightBytes,
    read: (tokens) => session.evaluate(tokens, { logits: 'none' }),
    async decode() {
      const copies = Array.from({ length: sessions - 1 }, () => session.fork());
      const times = await timeRounds([session, ...copies].map((each) => (i) => each.evaluate([token(i)])));
      for (const copy of copies) copy.dispose();
      return times;
    },
    close: () => model.dispose(),
  };
}

/** The same of node-llama-cpp, with a KV cache for so many tokens of each session. */
async function openLlama(file, { module, threads, sessions, tokens: contextSize }) {
  const { getLlama } = await import(pathToFileURL(module).href);
  const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ sequences: sessions, contextSize, batchSize: 512, threads });
  const [sequence, ...copies] = Array.from({ length: sessions }, () => context.getSequence());
  return {
    weightBytes: model.size,
    read: (tokens) => sequence.evaluateWithoutGeneratingNewTokens(tokens),
    async decode() {
      if (copies.length > 0 && sequence.nextTokenIndex > 0) await copyTo(copies, sequence, `${file}.state`);
      // Greedy, as the least that a sampler can do; the end of text ends nothing.
      const greedy = { temperature: 0, yieldEogToken: true };
      const streams = [sequence, ...copies].map((each) => each.evaluate([token(1)], greedy));
      const times = await timeRounds(streams.map((stream) => () => stream.next()));
      await Promise.all(streams.map((stream) => stream.return()));
      return times;
    },
    close: () => llama.dispose(),
  };
}

/** Brings sequences of node-llama-cpp where one is, by way of a file. */
async function copyTo(copies, sequence, file) {
  try {
    await sequence.saveStateToFile(file);
    for (const copy of copies) await copy.loadStateFromFile(file, { acceptRisk: true });
  } finally {
    fs.rmSync(file, { force: true });
  }
}

async function measure(file, { contexts, sessions, module, threads }) {
  const most = contexts.at(-1) + rounds * contexts.length;
  const open = module === undefined ? openWkv : openLlama;
  const program = await open(file, { module, threads, sessions, tokens: most + 64 });
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
      decodeTokensPerSecond: sessions / median(times.slice(warmUp)),
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
  const counts = { contexts, sessions: Number(values.sessions), threads: Number(values.threads) };
  const module = values['node-llama-cpp'];
  console.log(JSON.stringify(await measure(positionals[0], { ...counts, module })));
}

void main();
