import { createRequire } from 'node:module';
import type * as Api from './api';
import { messageOf } from './errors';

/**
 * The package, loaded at first use: help and wrong usage need none of it, and where its addon cannot be loaded
 * `wkv doctor` has to say why.
 */
export function library(): typeof Api {
  try {
    return createRequire(__filename)('./api') as typeof Api;
  } catch (cause) {
    throw new Error(
      `the native addon of wkv cannot be loaded: ${messageOf(cause)
        .trim()
        .replace(/\s*\n\s*/g, ', ')}. ` +
        'For a package that npm installed, "npm rebuild wkv" builds it again; in a checkout, "npm run build". ' +
        '"wkv doctor" says more.',
      { cause },
    );
  }
}
