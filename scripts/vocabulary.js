'use strict';

require('./lib/require-node').requireNode();

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');

const NAME = 'rwkv_vocab_v20230424.txt';
const SHA256 = 'e6dee3d4e31b4d5c40ac99508ac6c701ceef4bed681bf2167ce9a908552bca89';
const UPSTREAM = `https://raw.githubusercontent.com/BlinkDL/ChatRWKV/main/tokenizer/${NAME}`;
const TIMEOUT_SECONDS = 30;
const MAX_BYTES = 4_000_000;

const root = path.resolve(__dirname, '..');
const shared = path.resolve(root, '../shared/vocabulary', NAME);
const directory = path.join(root, 'vocabulary');
const target = path.join(directory, `${NAME}.br`);

const help = `Usage: npm run vocabulary [-- --required]

Puts ${NAME}, the vocabulary of the RWKV World models, into vocabulary/, where the package and the tests
look for it, compressed to a sixth with Brotli. It is third-party data and no part of the repository. It comes from the
first of these that there is:
  1. the file that the environment variable WKV_VOCABULARY names
  2. ${path.relative(root, shared)}, beside the checkout
  3. the upstream project: ${UPSTREAM}
and is checked against the SHA-256 of its text. A file that is already there and right is left as it is.

Options:
  --required   exit with 1 where the file can not be had; without it that is only a warning, for everything but
               text for World models works without the file
  --help       print this

Example:
  WKV_VOCABULARY=~/Downloads/${NAME} npm run vocabulary`;

const notice = `${NAME} is the vocabulary of the RWKV World models by BlinkDL (Bo Peng).

Origin:  https://github.com/BlinkDL/ChatRWKV, tokenizer/${NAME}
         (the same file is in https://github.com/BlinkDL/RWKV-LM)
Licence: Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0
Changes: line ends are LF throughout, and the last line has one; compressed with Brotli (RFC 7932).
SHA-256: ${SHA256} (of the text)
`;

/** The file's content with LF at the end of every line, or an Error that says what is wrong with it. */
function normalize(bytes, origin) {
  let text = bytes.toString('latin1').replaceAll('\r\n', '\n');
  if (!text.endsWith('\n')) text += '\n';
  const content = Buffer.from(text, 'latin1');
  const found = createHash('sha256').update(content).digest('hex');
  if (found !== SHA256) {
    throw new Error(`${origin} is not the vocabulary: expected the SHA-256 ${SHA256}, found ${found}`);
  }
  return content;
}

function readLocal(file) {
  const { size } = fs.statSync(file);
  if (size > MAX_BYTES) throw new Error(`${file} is not the vocabulary: it has ${size} bytes`);
  return normalize(fs.readFileSync(file), file);
}

async function download() {
  const response = await fetch(UPSTREAM, { signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000) });
  if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
  const chunks = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new Error(`the server sent more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return normalize(Buffer.concat(chunks), UPSTREAM);
}

/** Whole or not at all: another process may be reading. */
function write(file, content) {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    fs.writeFileSync(temporary, content);
    fs.renameSync(temporary, file);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

function isInPlace() {
  const noticed = fs.existsSync(path.join(directory, 'NOTICE'));
  if (!noticed || !fs.existsSync(target)) return false;
  try {
    normalize(zlib.brotliDecompressSync(fs.readFileSync(target), { maxOutputLength: MAX_BYTES }), target);
    return true;
  } catch (error) {
    console.log(`${path.relative(root, target)} is damaged and is made anew: ${error.message}`);
    return false;
  }
}

async function find() {
  const named = process.env.WKV_VOCABULARY;
  if (named) return { origin: named, content: readLocal(named) };
  if (fs.existsSync(shared)) return { origin: shared, content: readLocal(shared) };
  return { origin: UPSTREAM, content: await download() };
}

function reasonOf(error) {
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

async function main(args) {
  const unknown = args.find((argument) => argument !== '--required' && argument !== '--help');
  if (unknown !== undefined) {
    console.error(`Unknown argument ${unknown}\n\n${help}`);
    return 2;
  }
  if (args.includes('--help')) {
    console.log(help);
    return 0;
  }
  if (isInPlace()) {
    console.log(`${path.relative(root, target)} is in place`);
    return 0;
  }
  try {
    const { origin, content } = await find();
    fs.mkdirSync(directory, { recursive: true });
    write(path.join(directory, 'NOTICE'), notice);
    // As small as Brotli makes it: that takes seconds, and reading it back a few milliseconds.
    const compressed = zlib.brotliCompressSync(content);
    write(target, compressed);
    const sizes = `${content.length} bytes from ${origin}, compressed to ${compressed.length}`;
    console.log(`${path.relative(root, target)}: ${sizes}`);
    return 0;
  } catch (error) {
    const required = args.includes('--required') || Boolean(process.env.WKV_VOCABULARY);
    console.error(
      `${required ? 'Error' : 'Warning'}: no vocabulary for World models: ${reasonOf(error)}\n` +
        `Get ${NAME} from ${UPSTREAM}\n` +
        `on any machine, then run: WKV_VOCABULARY=/path/to/${NAME} npm run vocabulary\n` +
        `Until then Tokenizer.world() fails; Tokenizer.fromVocabulary(path) and Tokenizer.bytes() work.`,
    );
    return required ? 1 : 0;
  }
}

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
