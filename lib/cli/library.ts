import { createRequire } from 'node:module';
import type * as Api from './api';

/**
 * The package, loaded at first use: help and wrong usage need none of it, and where its addon cannot be loaded
 * `wkv doctor` has to say why.
 */
export const library = (): typeof Api => createRequire(__filename)('./api') as typeof Api;
