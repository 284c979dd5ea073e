'use strict';

require('../lib/require-node').requireNode();

const fs = require('node:fs');
const path = require('node:path');

const help = `Usage: node scripts/bench/tokenizer.js [FILE...]

Measures how many megabytes of text the World tokenizer encodes and decodes in a second on one thread: for each
FILE, else for texts that it makes of the vocabulary itself. Needs npm run build.

Example:
  node scripts/bench/tokenizer.js README.md README.zh-CN.md`;

const TEXT_BYTES = 20_000_000;
const ROUNDS = 5;

function measure(action) {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    action();
    best = Math.min(best, performance.now() - start);
  }
  return TEXT_BYTES / 1e3 / best;
}

/** A text of TEXT_BYTES bytes that repeats a shorter one. */
function repeat(text) {
  return Buffer.alloc(TEXT_BYTES, text);
}

/** Tokens in a random order that is the same at every run, those for which `accept` is true. */
function mix(world, accept) {
  const tokens = [];
  for (let id = 1; id < world.size; id++) {
    const text = world.decode([id]);
    if (text !== '' && !text.includes('\uFFFD') && accept(text)) tokens.push(text);
  }
  let state = 1;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % tokens.length;
  return Buffer.from(Array.from({ length: 500_000 }, () => tokens[next()]).join(''));
}

function texts(world, files) {
  if (files.length > 0) return files.map((file) => [path.basename(file), fs.readFileSync(file)]);
  const script = (name) => mix(world, (text) => new RegExp(`^ ?\\p{Script=${name}}+$`, 'u').test(text));
  return [
    ['all tokens alike', mix(world, () => true)],
    ['words, Latin', script('Latin')],
    ['words, Cyrillic', script('Cyrillic')],
    ['words, Arabic', script('Arabic')],
    ['words, Han', script('Han')],
    ['single characters', mix(world, (text) => [...text].length === 1)],
  ];
}

function main(args) {
  if (args.includes('--help')) {
    console.log(help);
    return;
  }
  const { Tokenizer } = require('../../dist/tokenizer.js');
  const start = performance.now();
  const world = Tokenizer.world();
  console.log(`loaded in ${(performance.now() - start).toFixed(0)} ms; MB/s, the best of ${ROUNDS} rounds:`);
  for (const [name, sample] of texts(world, args)) {
    const text = repeat(sample);
    let tokens;
    const encode = measure(() => (tokens = world.encode(text)));
    const decode = measure(() => world.decodeBytes(tokens));
    const density = (text.length / tokens.length).toFixed(2);
    console.log(
      `${name.padEnd(20)} encode ${encode.toFixed(0).padStart(4)}   decode ${decode.toFixed(0).padStart(4)}   ` +
        `${density} bytes a token`,
    );
  }
}

main(process.argv.slice(2));
