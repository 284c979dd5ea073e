'use strict';

// Writes a model of a published RWKV-5.2 shape with random bf16 weights, as .safetensors with BlinkDL's names: for
// measuring load time, memory and speed without the real file. No two pages are alike.
const { openSync, writeSync, closeSync } = require('node:fs');
const { randomFillSync } = require('node:crypto');
const { feedForward, headSize, shapes, vocabulary } = require('./shapes');

const help = `Usage: node scripts/bench/synthetic-model.js SHAPE FILE

Writes FILE (.safetensors) with random weights of the shape 0.4B, 1.5B, 3B or 7B (15 GB).`;

/** Names and shapes of all tensors, in the order of BlinkDL's files. */
function tensors({ layers, embedding: d }) {
  const heads = d / headSize;
  const f = feedForward(d);
  const list = [['emb.weight', [vocabulary, d]]];
  for (let i = 0; i < layers; i++) {
    const add = (name, ...shape) => list.push([`blocks.${i}.${name}`, shape]);
    for (const norm of i === 0 ? ['ln0', 'ln1', 'ln2'] : ['ln1', 'ln2']) {
      add(`${norm}.weight`, d);
      add(`${norm}.bias`, d);
    }
    for (const mix of ['k', 'v', 'r', 'g']) add(`att.time_mix_${mix}`, 1, 1, d);
    add('att.time_decay', heads, headSize);
    add('att.time_faaaa', heads, headSize);
    for (const name of ['receptance', 'key', 'value', 'output', 'gate']) add(`att.${name}.weight`, d, d);
    add('att.ln_x.weight', d);
    add('att.ln_x.bias', d);
    for (const mix of ['k', 'r']) add(`ffn.time_mix_${mix}`, 1, 1, d);
    add('ffn.key.weight', f, d);
    add('ffn.receptance.weight', d, d);
    add('ffn.value.weight', d, f);
  }
  list.push(['ln_out.weight', [d]], ['ln_out.bias', [d]], ['head.weight', [vocabulary, d]]);
  return list;
}

/** Fills a buffer with random bf16 numbers of magnitude 2^-8 to 2^-4: any sign, any fraction. */
function fill(buffer) {
  randomFillSync(buffer);
  for (let i = 1; i < buffer.length; i += 2) {
    const random = buffer[i];
    // sign, exponent 119..122 in eight bits, whose lowest is the top bit of the other byte
    buffer[i] = (random & 0x80) | 0x3b | (random & 0x04 ? 0x01 : 0x00);
  }
}

function main([shape, path]) {
  if (shape === '--help' || !Object.hasOwn(shapes, shape ?? '') || path === undefined) {
    console.log(help);
    process.exitCode = shape === '--help' ? 0 : 2;
    return;
  }
  const list = tensors(shapes[shape]);
  const header = {};
  let offset = 0;
  for (const [name, dimensions] of list) {
    const bytes = 2 * dimensions.reduce((a, b) => a * b);
    header[name] = { dtype: 'BF16', shape: dimensions, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path, 'w');
  writeSync(file, length);
  writeSync(file, text);
  const chunk = Buffer.alloc(16 << 20);
  for (let left = offset; left > 0; left -= chunk.length) {
    fill(chunk);
    for (let done = 0, size = Math.min(left, chunk.length); done < size;) {
      done += writeSync(file, chunk, done, size - done);
    }
  }
  closeSync(file);
  console.log(`${path}: ${(offset / 1e9).toFixed(2)} GB`);
}

main(process.argv.slice(2));
