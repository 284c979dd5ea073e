import { isInt32Array, isUint32Array } from 'node:util/types';
import { onAbort } from '../abort';
import { lengthOf, outOfRange, wrongType } from '../options';

/**
 * Which tokens may be drawn, one bit for each of the model's vocabulary, Uint32Array or Int32Array
 * [ceil(vocabulary / 32)]: token t where bit t % 32 (the lowest is 0) of element floor(t / 32) is 1.
 */
export type TokenMask = Uint32Array | Int32Array;

/**
 * Says which tokens may be drawn next, before each draw of a generation, and gets the token that was drawn before:
 * `undefined` before the first. What it returns is copied; `undefined` allows all.
 */
export type TokenMaskFunction = (
  drawn: number | undefined,
) => TokenMask | undefined | PromiseLike<TokenMask | undefined>;

const called = 'options.tokenMask';

export function tokenMaskFunction(name: string, value: unknown): TokenMaskFunction {
  if (!isFunction(value)) throw wrongType(name, 'a function', value);
  return value;
}

function isFunction(value: unknown): value is TokenMaskFunction {
  return typeof value === 'function';
}

/** A mask of so many tokens, checked and copied. */
function checkMask(mask: unknown, vocabulary: number): Uint32Array | undefined {
  if (mask === undefined) return undefined;
  if (!isUint32Array(mask) && !isInt32Array(mask)) {
    throw wrongType(`what ${called} returned`, 'a Uint32Array or an Int32Array, or undefined', mask);
  }
  const [length, expected] = [lengthOf(mask), Math.ceil(vocabulary / 32)];
  if (length !== expected) {
    const name = `the length of what ${called} returned`;
    throw outOfRange(name, `${expected} (${vocabulary} tokens, 32 in an element)`, length);
  }
  return new Uint32Array(mask);
}

/** The mask of the draw after `drawn`; rejects with the reason of the first of these signals that is aborted. */
export type MaskAfter = (
  drawn: number | undefined,
  signals: readonly (AbortSignal | undefined)[],
) => Promise<Uint32Array | undefined>;

/** @param vocabulary how many tokens the model has */
export function masksOf(tokenMask: TokenMaskFunction, vocabulary: number): MaskAfter {
  return async (drawn, signals) => {
    for (const signal of signals) signal?.throwIfAborted();
    return checkMask(await unlessAborted(tokenMask(drawn), signals), vocabulary);
  };
}

async function unlessAborted<Result>(
  work: Result | PromiseLike<Result>,
  signals: readonly (AbortSignal | undefined)[],
): Promise<Result> {
  const endings: (() => void)[] = [];
  const aborted = new Promise<never>((_, reject) => {
    for (const signal of signals) {
      const abort = (): void => {
        reject(signal?.reason as Error);
      };
      if (signal?.aborted === true) abort();
      endings.push(onAbort(signal, abort));
    }
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    for (const end of endings) end();
  }
}
