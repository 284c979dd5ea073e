'use strict';

// Writes GGUF files with random weights. The format is that of ggml's docs/gguf.md, version 3.
const { closeSync, openSync, writeSync } = require('node:fs');
const { randomFillSync } = require('node:crypto');

const alignment = 32;
const types = { f32: 0, q8: 8 }; // of ggml
const values = { uint32: 4, float32: 6, string: 8, array: 9 }; // of metadata
/** Q8_0: 32 numbers share a scale in f16, which stands before them. */
const blockNumbers = 32;
const blockBytes = 2 + blockNumbers;

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
function header(metadata, tensors) {
  const entries = Object.entries({ 'general.alignment': ['uint32', alignment], ...metadata });
  let offset = 0;
  const places = tensors.map((tensor) => {
    const { name, dimensions, type } = tensor;
    const place = [string(name), uint32(dimensions.length), ...dimensions.map(uint64), uint32(types[type])];
    place.push(uint64(offset));
    offset += aligned(bytesOf(tensor));
    return Buffer.concat(place);
  });
  const counts = [uint32(3), uint64(tensors.length), uint64(entries.length)];
  const text = Buffer.concat([Buffer.from('GGUF'), ...counts, ...entries.map(metadataEntry), ...places]);
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

/**
 * Writes a file of metadata, { key: [type, value] }, and tensors: name, type ('q8' or 'f32'), dimensions, innermost
 * first, and for f32 the range of its numbers, from .. to. No two pages are alike.
 */
function writeGguf(path, metadata, tensors) {
  const file = openSync(path, 'w');
  writeAll(file, header(metadata, tensors));
  for (const tensor of tensors) {
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

module.exports = { writeGguf };
