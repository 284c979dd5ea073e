import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

/** The top of the checkout. */
export const root = resolve(__dirname, '../..');

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a program without standard input, in this environment or the one given; `output` is all that it wrote. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Outcome {
  const result = spawnSync(program, args, {
    cwd: options.cwd ?? root,
    env: options.env ?? process.env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 26,
  });
  return { status: result.status, output: result.stdout + result.stderr + (result.error?.message ?? '') };
}

/** Runs JavaScript in a fresh Node and returns what it printed; throws when it failed. */
export function evaluate(source: string, options: { cwd?: string; esm?: boolean } = {}): string {
  const type = options.esm === true ? 'module' : 'commonjs';
  const cwd = options.cwd === undefined ? {} : { cwd: options.cwd };
  const { status, output } = run(process.execPath, [`--input-type=${type}`, '-e', source], cwd);
  if (status !== 0) throw new Error(output);
  return output;
}
