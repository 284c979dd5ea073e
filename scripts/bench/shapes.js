'use strict';

/** The published shapes of RWKV-5.2 and RWKV-6 models: heads of 64, a vocabulary of 65,536. */
const shapes = {
  '0.4B': { layers: 24, embedding: 1024 },
  '1.5B': { layers: 24, embedding: 2048 },
  '3B': { layers: 32, embedding: 2560 },
  '7B': { layers: 32, embedding: 4096 },
};

const headSize = 64;
const vocabulary = 65_536;

/** Channels inside channel mixing: three and a half times the embedding. */
const feedForward = (embedding) => Math.floor((embedding * 3.5) / 32) * 32;

module.exports = { shapes, headSize, vocabulary, feedForward };
