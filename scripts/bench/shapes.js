'use strict';

/** The published shapes of RWKV-5.2 and RWKV-6 models: heads of 64, a vocabulary of 65,536. */
const shapes = {
  '0.4B': { layers: 24, embedding: 1024 },
  '1.5B': { layers: 24, embedding: 2048 },
  '3B': { layers: 32, embedding: 2560 },
  '7B': { layers: 32, embedding: 4096 },
};

/** Published shapes of Transformers, with heads of 64 as well; `keyHeads` have a key and a value in the KV cache. */
const transformers = {
  'Llama-3.2-1B': { layers: 16, embedding: 2048, keyHeads: 8, feedForward: 8192 },
  'SmolLM2-1.7B': { layers: 24, embedding: 2048, keyHeads: 32, feedForward: 8192 },
};

const headSize = 64;
const vocabulary = 65_536;

/** Channels inside channel mixing: three and a half times the embedding. */
const feedForward = (embedding) => Math.floor((embedding * 3.5) / 32) * 32;

module.exports = { shapes, transformers, headSize, vocabulary, feedForward };
