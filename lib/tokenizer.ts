import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isUint8Array } from 'node:util/types';
import { decodeUtf8, StreamingDecoder } from './decoder';
import { checkConstruction, ownConstruction } from './construction';
import { WkvError } from './errors';
import { awaitNative, callNative, native, type NativeVocabulary } from './native';
import { pathText, requireMemoryOf, wrongType } from './options';
import { copyTokens } from './token-ids';
import { unpacked } from './unpacked';
import {
  parseVocabulary,
  withoutEnds,
  readCompressedVocabularyFile,
  readVocabularyFile,
  type ParsedVocabulary,
} from './vocabulary';
import { errorCode } from './thrown';

/**
 * What a model needs of a tokenizer; any object that has these will do. Both functions are pure: they always return the
 * same for the same argument, in an array that does not change afterwards. They are called on the caller's thread.
 */
export interface TokenizerLike {
  /**
   * How many ids there are, 1 to 2^32: from 0 to `size - 1`. Some of them may have no bytes. Models may have more ids,
   * or fewer.
   */
  readonly size: number;
  /** The id that ends a text, 0 to 2^32 - 1. */
  readonly endOfText: number;
  /**
   * The ids of a text, all below `size`; ids that the model does not have are `ERR_WKV_TOKEN`. A session calls it with
   * each text that it is given, and throws or rejects with what it throws. It is called with bytes where a generation
   * ended inside a token, with those that were delivered of it: if it throws, they are not evaluated.
   */
  encode(text: string | Uint8Array): Uint32Array;
  /**
   * The bytes of tokens one after the other, whatever stands before or after them; none for ids that have none. When a
   * model generates for the first time it is called with each of its ids below `size` alone, and then with each token
   * that is drawn. It should throw for ids that are not below `size`; a generation rejects with what it throws.
   */
  decodeBytes(tokens: Uint32Array | readonly number[]): Uint8Array;
}

/** The name under which the vocabulary of the RWKV World models is published. */
export const worldVocabularyName = 'rwkv_vocab_v20230424.txt';
/** The SHA-256 of its content with LF at the end of every line. */
export const worldVocabularySha256 = 'e6dee3d4e31b4d5c40ac99508ac6c701ceef4bed681bf2167ce9a908552bca89';
/** Where the package has it, compressed with Brotli, once `npm run vocabulary` has put it there. */
export const worldVocabularyPath = unpacked(join(__dirname, '..', 'vocabulary', `${worldVocabularyName}.br`));

/** World models have this many ids: the vocabulary's 65,529, id 0, and 6 at the end that have no bytes. */
export const worldSize = 65_536;

let world: Tokenizer | undefined;

/**
 * Turns text into token ids and back: the longest token that fits, left to right, over bytes. It never normalizes;
 * what it encodes it decodes to the same bytes. Nothing in a text is special: no text encodes to the end of text
 * of the World vocabulary.
 */
export class Tokenizer implements TokenizerLike {
  /** How many ids there are, from 0 to `size - 1`; some of them may have no bytes. */
  readonly size: number;
  /** The id that ends a text: 0, unless a model's file says otherwise. */
  readonly endOfText: number;
  /** Shared with the engine, which tokenizes on its own threads. @internal */
  declare readonly vocabulary: NativeVocabulary;
  declare private readonly bytes: Uint8Array;
  declare private readonly offsets: Uint32Array;

  /** Made by the functions below. */
  private constructor(own: typeof ownConstruction, parsed: ParsedVocabulary, endOfText = 0) {
    checkConstruction(own, 'Tokenizer', 'Tokenizer.world(), bytes() and fromVocabulary() make tokenizers');
    const { bytes, offsets, size } = parsed;
    // Neither a console nor JSON is to show these.
    Object.defineProperties(this, {
      vocabulary: { value: new native.Vocabulary(bytes, offsets) },
      bytes: { value: bytes },
      offsets: { value: offsets },
    });
    this.size = size;
    this.endOfText = endOfText;
  }

  /**
   * The tokenizer of the RWKV World models, from the vocabulary that the package carries; parsed once per thread.
   * It has 65,536 ids; 0 (end of text) and the last six have no bytes.
   *
   * @throws {WkvError} `ERR_WKV_TOKEN` where the package does not have the vocabulary, `ERR_WKV_FORMAT` where it is
   * not the one that it should be
   */
  static world(): Tokenizer {
    world ??= Tokenizer.packagedWorld();
    return world;
  }

  private static packagedWorld(): Tokenizer {
    const path = worldVocabularyPath;
    let text: Uint8Array;
    try {
      text = readCompressedVocabularyFile(path);
    } catch (cause) {
      if (errorCode(cause) !== 'ENOENT') throw cause;
      throw new WkvError(
        'ERR_WKV_TOKEN',
        `The vocabulary of the RWKV World models is not at ${path}: run "npm run vocabulary" if this is a ` +
          `checkout, or pass the path of a ${worldVocabularyName} to Tokenizer.fromVocabulary().`,
        { path, cause },
      );
    }
    const found = sha256OfLines(text);
    if (found !== worldVocabularySha256) {
      const expected = `the SHA-256 ${worldVocabularySha256}`;
      throw new WkvError('ERR_WKV_FORMAT', `${path}: expected ${expected}, found ${found}`, {
        path,
        expected,
        found,
      });
    }
    return Tokenizer.fromText(text, path, found);
  }

  /** The tokenizer whose 256 ids are the values of bytes. Its end of text, 0, is the byte 0 as well. */
  static bytes(): Tokenizer {
    const bytes = Uint8Array.from({ length: 256 }, (_, value) => value);
    const offsets = Uint32Array.from({ length: 257 }, (_, id) => id);
    return new Tokenizer(ownConstruction, { bytes, offsets, size: 256 });
  }

  /**
   * The tokenizer of a vocabulary file in the format of the RWKV World models.
   *
   * @param path a path or a `file:` URL
   * @throws {WkvError} `ERR_WKV_FORMAT` where the file is no vocabulary, with the line, or has more than 16 MiB
   * @throws {TypeError} where the path is neither, or empty
   * @throws the file system's own error where the file cannot be read
   */
  static fromVocabulary(path: string | URL): Tokenizer {
    const name = pathText('path', path);
    return Tokenizer.fromText(readVocabularyFile(name), name);
  }

  private static fromText(text: Uint8Array, path: string, sha256 = sha256OfLines(text)): Tokenizer {
    const vocabulary = parseVocabulary(text, path);
    if (sha256 === worldVocabularySha256) padWithEmptyIds(vocabulary, worldSize);
    return Tokenizer.fromParsed(vocabulary, path);
  }

  /** The tokenizer of a vocabulary that the file at `path` holds. @internal */
  static fromParsed(vocabulary: ParsedVocabulary & { endOfText?: number }, path: string): Tokenizer {
    try {
      return callNative(() => new Tokenizer(ownConstruction, vocabulary, vocabulary.endOfText));
    } catch (cause) {
      if (!(cause instanceof WkvError)) throw cause;
      throw new WkvError(cause.code, `${path}: ${cause.message}`, { path, cause });
    }
  }

  /**
   * The ids of a text, in an array that is the caller's. Lone surrogates of a string become U+FFFD, as everywhere
   * that JavaScript makes UTF-8; bytes need not be UTF-8.
   *
   * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it is neither a string nor a `Uint8Array`, `ERR_INVALID_ARG_VALUE`
   * where its memory is gone
   * @throws {WkvError} `ERR_WKV_TOKEN` where no token of the vocabulary begins with a byte of the text; it names
   * byte and offset. World and bytes encode everything.
   */
  encode(text: string | Uint8Array): Uint32Array {
    if (typeof text !== 'string' && !isUint8Array(text))
      throw wrongType('text', 'a string or a Uint8Array', text);
    if (isUint8Array(text)) requireMemoryOf('text', text);
    return callNative(() => this.vocabulary.encode(bytesOfText(text)));
  }

  /**
   * The text of tokens. Where their bytes are no UTF-8 they become U+FFFD as the WHATWG's Encoding Standard says; a
   * byte order mark is kept. Ids without bytes, such as the end of text, are skipped.
   *
   * @throws as {@link decodeBytes}
   */
  decode(tokens: Uint32Array | readonly number[]): string {
    return decodeUtf8(this.decodeBytes(tokens));
  }

  /**
   * The exact bytes of tokens, in an array that is the caller's. Ids without bytes are skipped.
   *
   * @throws {TypeError} `ERR_INVALID_ARG_TYPE` where it is neither a `Uint32Array` nor an array of numbers
   * @throws {RangeError} `ERR_OUT_OF_RANGE` where a number is not an integer
   * @throws {WkvError} `ERR_WKV_TOKEN` where an id is not from 0 to `size - 1`
   */
  decodeBytes(tokens: Uint32Array | readonly number[]): Uint8Array {
    const ids = copyTokens(tokens, this.size);
    const { bytes, offsets } = this;
    let length = 0;
    for (const id of ids) length += (offsets[id + 1] ?? 0) - (offsets[id] ?? 0);
    const result = new Uint8Array(length);
    let position = 0;
    for (const id of ids) {
      const end = offsets[id + 1] ?? 0;
      for (let i = offsets[id] ?? 0; i < end; i++) result[position++] = bytes[i] ?? 0;
    }
    return result;
  }

  /** The bytes of an id that exists, to be read only. @internal */
  bytesOf(id: number): Uint8Array {
    return this.bytes.subarray(this.offsets[id], this.offsets[id + 1]);
  }

  /** Like {@link encode}, on another thread. @internal */
  async encodeAsync(text: string | Uint8Array): Promise<Uint32Array> {
    return await awaitNative(() => this.vocabulary.encodeAsync(bytesOfText(text)));
  }

  /** A decoder for tokens that come one by one; it never emits half a character. */
  createDecoder(): StreamingDecoder {
    return new StreamingDecoder(this);
  }
}

/** Whether this method is the class's own: a subclass, or an object that inherits from a tokenizer, may have another. */
export function usesOwn(
  method: 'encode' | 'decodeBytes',
  tokenizer: TokenizerLike | undefined,
): tokenizer is Tokenizer {
  return tokenizer instanceof Tokenizer && tokenizer[method] === Tokenizer.prototype[method];
}

/** Adds ids without bytes at the end, up to `size` of them. */
function padWithEmptyIds(vocabulary: ParsedVocabulary, size: number): void {
  const offsets = new Uint32Array(size + 1).fill(vocabulary.bytes.length);
  offsets.set(vocabulary.offsets);
  vocabulary.offsets = offsets;
  vocabulary.size = size;
}

/** The SHA-256 of a vocabulary's text as if every line of it ended with LF, the last one too. */
function sha256OfLines(text: Uint8Array): string {
  const lines = Buffer.from(withoutEnds(text)).toString('latin1').replaceAll('\r\n', '\n');
  return createHash('sha256').update(`${lines}\n`, 'latin1').digest('hex');
}

function bytesOfText(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text, 'utf8') : text;
}
