'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');

// macOS on arm64 ends a process that touches a page whose hash is not the one in the file's signature. An ad-hoc
// signature names nobody: it is these hashes. Layout: Apple's cs_blobs.h (all numbers of the blobs big-endian).

const machO64 = 0xfeedfacf;
const loadCodeSignature = 0x1d;
const embeddedSignature = 0xfade0cc0;
const codeDirectory = 0xfade0c02;
const sha256 = 2;

/** Where LC_CODE_SIGNATURE says that the signature lies; undefined where there is none. */
function signatureOf(bytes) {
  if (bytes.readUInt32LE(0) !== machO64) return undefined;
  const commands = bytes.readUInt32LE(16);
  let at = 32;
  for (let i = 0; i < commands; i++) {
    if (bytes.readUInt32LE(at) === loadCodeSignature)
      return { at: bytes.readUInt32LE(at + 8), length: bytes.readUInt32LE(at + 12) };
    at += bytes.readUInt32LE(at + 4);
  }
  return undefined;
}

function codeDirectoryOf(signature) {
  if (signature.readUInt32BE(0) !== embeddedSignature) return undefined;
  const blobs = signature.readUInt32BE(8);
  for (let i = 0; i < blobs; i++) {
    const blob = signature.subarray(signature.readUInt32BE(12 + 8 * i + 4));
    if (blob.readUInt32BE(0) === codeDirectory) return blob;
  }
  return undefined;
}

/** What is wrong with the signature of a 64-bit Mach-O file, a sentence each; nothing where macOS would accept it. */
function inspectCodeSignature(file) {
  const bytes = fs.readFileSync(file);
  const place = signatureOf(bytes);
  const directory = place && codeDirectoryOf(bytes.subarray(place.at, place.at + place.length));
  if (directory === undefined) return ['is not signed, not even ad hoc'];
  const [hashes, , slots, limit] = [16, 20, 28, 32].map((at) => directory.readUInt32BE(at));
  const [size, type, , pageBits] = directory.subarray(36, 40);
  if (type !== sha256) return [`has a signature of hashes of type ${type}, expected SHA-256`];
  if (limit !== place.at) return [`has a signature of ${limit} bytes, expected ${place.at}`];
  const page = 2 ** pageBits;
  const wrong = [];
  for (let i = 0; i < slots; i++) {
    const part = bytes.subarray(i * page, Math.min((i + 1) * page, limit));
    const expected = directory.subarray(hashes + i * size, hashes + (i + 1) * size);
    if (!createHash('sha256').update(part).digest().equals(expected)) wrong.push(i);
  }
  if (slots !== Math.ceil(limit / page)) return [`has a signature of ${slots} pages`];
  return wrong.length === 0 ? [] : [`differs from its signature in page ${wrong.join(', ')}`];
}

module.exports = { inspectCodeSignature };
