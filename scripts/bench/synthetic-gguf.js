'use strict';

// Writes a GGUF of RWKV-6 ("Finch") with random weights in Q8_0, of the shape of an RWKV-5.2 model: llama.cpp knows no
// RWKV-5. Finch has the same matrices and some small ones more. No two pages are alike.
//
// The format is that of ggml's docs/gguf.md, version 3; names and shapes are those that llama.cpp loads for `rwkv6`.
// What is two-dimensional and small is not quantized there either.
const { closeSync, openSync, writeSync } = require('node:fs');
const { randomFillSync } = require('node:crypto');
const { feedForward, headSize, shapes, vocabulary } = require('./shapes');

const help = `Usage: node scripts/bench/synthetic-gguf.js SHAPE FILE

Writes FILE (.gguf) of RWKV-6 with random weights in Q8_0 and the shape 0.4B, 1.5B, 3B or 7B (8 GB).`;

const alignment = 32;
const types = { f32: 0, q8: 8 }; // of ggml
const values = { uint32: 4, float32: 6, string: 8, array: 9 }; // of metadata
/** Q8_0: 32 numbers share a scale in f16, which stands before them. */
const blockNumbers = 32;
const blockBytes = 2 + blockNumbers;

/** Ranks of the LoRA matrices that make the token shift and the decay depend on the token, as published. */
const extra = (embedding) => ({ mix: embedding < 4096 ? 32 : 64, decay: embedding < 4096 ? 64 : 128 });

/** Names, types and dimensions of all tensors, innermost first, and how the f32 ones are filled: from .. to. */
function tensors({ layers, embedding: d }) {
  const f = feedForward(d);
  const { mix, decay } = extra(d);
  const list = [];
  const matrix = (name, ...dimensions) => list.push({ name: `${name}.weight`, type: 'q8', dimensions });
  const numbers = (name, [from, to], ...dimensions) => list.push({ name, type: 'f32', dimensions, from, to });
  const norm = (name) => {
    numbers(`${name}.weight`, [0.9, 1.1], d);
    numbers(`${name}.bias`, [-0.1, 0.1], d);
  };
  matrix('token_embd', d, vocabulary);
  norm('token_embd_norm');
  for (let i = 0; i < layers; i++) {
    const at = (name) => `blk.${i}.${name}`;
    norm(at('attn_norm'));
    norm(at('attn_norm_2'));
    numbers(at('time_mix_w1.weight'), [-0.01, 0.01], d, 5 * mix);
    numbers(at('time_mix_w2.weight'), [-0.01, 0.01], mix, d, 5);
    numbers(at('time_mix_lerp_x.weight'), [0, 1], d, 1, 1);
    numbers(at('time_mix_lerp_fused.weight'), [0, 1], d, 1, 1, 5);
    numbers(at('time_mix_first.weight'), [-1, 1], headSize, d / headSize);
    numbers(at('time_mix_decay.weight'), [-6, 1], d);
    numbers(at('time_mix_decay_w1.weight'), [-0.01, 0.01], d, decay);
    numbers(at('time_mix_decay_w2.weight'), [-0.01, 0.01], decay, d);
    for (const name of ['key', 'value', 'receptance', 'gate', 'output']) matrix(at(`time_mix_${name}`), d, d);
    norm(at('time_mix_ln'));
    numbers(at('channel_mix_lerp_k.weight'), [0, 1], d, 1, 1);
    numbers(at('channel_mix_lerp_r.weight'), [0, 1], d, 1, 1);
    matrix(at('channel_mix_key'), d, f);
    matrix(at('channel_mix_value'), f, d);
    matrix(at('channel_mix_receptance'), d, d);
  }
  norm('output_norm');
  matrix('output', d, vocabulary);
  return list;
}

/**
 * Texts of as many tokens, in llama.cpp's escapes, no two alike: 256 single bytes, so that any text can be encoded,
 * then pairs of bytes.
 */
function tokenTexts() {
  const byte = (value) => `\\x${value.toString(16).padStart(2, '0')}`;
  return Array.from({ length: vocabulary }, (_, i) =>
    i < 256 ? byte(i) : byte((i - 256) >> 8) + byte((i - 256) & 255),
  );
}

function metadata({ layers, embedding }) {
  const { mix, decay } = extra(embedding);
  const integer = (value) => ['uint32', value];
  return {
    'general.architecture': ['string', 'rwkv6'],
    'general.name': ['string', 'random weights'],
    'general.alignment': integer(alignment),
    'general.file_type': integer(7), // mostly Q8_0
    'rwkv6.context_length': integer(1 << 20),
    'rwkv6.embedding_length': integer(embedding),
    'rwkv6.block_count': integer(layers),
    'rwkv6.feed_forward_length': integer(feedForward(embedding)),
    'rwkv6.attention.head_count': integer(0),
    'rwkv6.attention.layer_norm_epsilon': ['float32', 1e-5],
    'rwkv6.rescale_every_n_layers': integer(0),
    'rwkv6.wkv.head_size': integer(headSize),
    'rwkv6.time_mix_extra_dim': integer(mix),
    'rwkv6.time_decay_extra_dim': integer(decay),
    'tokenizer.ggml.model': ['string', 'rwkv'],
    'tokenizer.ggml.tokens': ['strings', tokenTexts()],
  };
}

const uint32 = (value) => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};
const uint64 = (value) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
};
const float32 = (value) => {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
};
const string = (text) => Buffer.concat([uint64(Buffer.byteLength(text)), Buffer.from(text)]);

function metadataEntry([key, [type, value]]) {
  const written = {
    uint32: () => [uint32(values.uint32), uint32(value)],
    float32: () => [uint32(values.float32), float32(value)],
    string: () => [uint32(values.string), string(value)],
    strings: () => [
      uint32(values.array),
      uint32(values.string),
      uint64(value.length),
      Buffer.concat(value.map(string)),
    ],
  }[type]();
  return Buffer.concat([string(key), ...written]);
}

const count = ({ dimensions }) => dimensions.reduce((a, b) => a * b);
const bytesOf = (tensor) =>
  tensor.type === 'q8' ? (count(tensor) / blockNumbers) * blockBytes : 4 * count(tensor);
const aligned = (bytes) => Math.ceil(bytes / alignment) * alignment;

/** Everything before the data, which begins at a multiple of the alignment. */
function header(shape, list) {
  const entries = Object.entries(metadata(shape)).map(metadataEntry);
  let offset = 0;
  const places = list.map((tensor) => {
    const { name, dimensions, type } = tensor;
    const place = [string(name), uint32(dimensions.length), ...dimensions.map(uint64), uint32(types[type])];
    place.push(uint64(offset));
    offset += aligned(bytesOf(tensor));
    return Buffer.concat(place);
  });
  const counts = [uint32(3), uint64(list.length), uint64(entries.length)];
  const text = Buffer.concat([Buffer.from('GGUF'), ...counts, ...entries, ...places]);
  return Buffer.concat([text, Buffer.alloc(aligned(text.length) - text.length)]);
}

/** Random blocks of Q8_0: any codes, and scales of 2^-13 to 2^-12, so that activations neither grow nor vanish. */
function fillBlocks(buffer) {
  randomFillSync(buffer);
  for (let i = 0; i < buffer.length; i += blockBytes) buffer[i + 1] = 0x08 | (buffer[i + 1] & 0x03);
}

function fillNumbers(buffer, { from, to }) {
  randomFillSync(buffer);
  for (let i = 0; i < buffer.length; i += 4) {
    buffer.writeFloatLE(from + (to - from) * (buffer.readUInt32LE(i) / 2 ** 32), i);
  }
}

function writeAll(file, buffer) {
  for (let done = 0; done < buffer.length;) done += writeSync(file, buffer, done);
}

function writeModel(shape, path) {
  const list = tensors(shape);
  const file = openSync(path, 'w');
  writeAll(file, header(shape, list));
  for (const tensor of list) {
    // A multiple of a block, of an f32 and of the alignment.
    const most = blockBytes * (1 << 19);
    const bytes = bytesOf(tensor);
    for (let done = 0; done < bytes; done += most) {
      const chunk = Buffer.alloc(Math.min(most, bytes - done));
      if (tensor.type === 'q8') fillBlocks(chunk);
      else fillNumbers(chunk, tensor);
      writeAll(file, chunk);
    }
    writeAll(file, Buffer.alloc(aligned(bytes) - bytes));
  }
  closeSync(file);
}

function main([shape, path]) {
  if (shape === '--help' || !Object.hasOwn(shapes, shape ?? '') || path === undefined) {
    console.log(help);
    process.exitCode = shape === '--help' ? 0 : 2;
    return;
  }
  writeModel(shapes[shape], path);
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { writeModel };
