import { bytesOf } from './decoder';
import { WkvError } from './errors';
import { usesOwn, type TokenizerLike } from './tokenizer';

/** What the sampler has to know of a model's tokens. */
export interface TokenClasses {
  /** Ids that the tokenizer does not have, or has no bytes for; the end of text is none of them. Never drawn. */
  withoutBytes: Uint32Array;
  /** ChatRWKV's exemption from counting: tokens whose text is a part of this. */
  digitsAndSpace: Uint32Array;
  /** Whether every token is a single byte: text then repeats tokens all the time. */
  singleBytes: boolean;
}

const exempt = ' \t0123456789';

export function classifyTokens(tokenizer: TokenizerLike, vocabulary: number): TokenClasses {
  const withoutBytes: number[] = [];
  const digitsAndSpace: number[] = [];
  let longest = 0;
  for (let id = 0; id < vocabulary; id++) {
    const bytes = id < tokenizer.size ? bytesOfId(tokenizer, id) : new Uint8Array(0);
    longest = Math.max(longest, bytes.length);
    if (bytes.length === 0 && id !== tokenizer.endOfText) withoutBytes.push(id);
    if (bytes.length > 0 && bytes.length <= exempt.length && exempt.includes(latin1(bytes))) {
      digitsAndSpace.push(id);
    }
  }
  if (withoutBytes.length === vocabulary) {
    throw new WkvError('ERR_WKV_TOKEN', "none of the model's ids has any bytes in its tokenizer");
  }
  return {
    withoutBytes: Uint32Array.from(withoutBytes),
    digitsAndSpace: Uint32Array.from(digitsAndSpace),
    singleBytes: longest <= 1,
  };
}

function bytesOfId(tokenizer: TokenizerLike, id: number): Uint8Array {
  return usesOwn('decodeBytes', tokenizer) ? tokenizer.bytesOf(id) : bytesOf(tokenizer, [id]);
}

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
