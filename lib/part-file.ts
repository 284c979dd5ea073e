import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';

/** A name that nobody else has, beside a file that what is written there will replace when it is whole. */
export function partBeside(path: string): string {
  return join(dirname(path), `wkv-${process.pid}-${randomBytes(8).toString('hex')}.part`);
}
