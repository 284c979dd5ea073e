import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export { temporaryFolder } from '../support/temporary-folder';
export { unless } from '../support/unless';

/** The top of the checkout. */
export const root = resolve(__dirname, '../..');

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** An environment without what jest sets at a terminal, for which Node prints values in color into pipes, too. */
const withoutColor = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ ...env, FORCE_COLOR: undefined });

/** Runs a program without standard input, in this environment or the one given; `output` is all that it wrote. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Outcome {
  const result = spawnSync(program, args, {
    cwd: options.cwd ?? root,
    env: withoutColor(options.env ?? process.env),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 26,
  });
  return { status: result.status, output: result.stdout + result.stderr + (result.error?.message ?? '') };
}

/** The same, while this process goes on: it may serve what the program asks for. */
export function runAsync(
  program: string,
  args: readonly string[],
  { cwd, env }: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<Outcome> {
  return new Promise((resolved, rejected) => {
    const options = { cwd, env: withoutColor(env) };
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.on('error', rejected).on('close', (status) => resolved({ status, output }));
  });
}

/** Runs JavaScript in a fresh Node and returns what it printed; throws when it failed. */
export function evaluate(source: string, options: { cwd?: string; esm?: boolean } = {}): string {
  const type = options.esm === true ? 'module' : 'commonjs';
  const cwd = options.cwd === undefined ? {} : { cwd: options.cwd };
  const { status, output } = run(process.execPath, [`--input-type=${type}`, '-e', source], cwd);
  if (status !== 0) throw new Error(output);
  return output;
}

/** The addon that was built in this checkout. */
export const builtAddon = join(root, 'build/Release/wkv.node');

/**
 * Puts the package's JavaScript, and whatever else of the checkout is named, where npm would install it in `project`,
 * beside its dependencies. Returns that directory.
 */
export function layOut(project: string, parts: readonly string[] = []): string {
  const installed = join(project, 'node_modules/wkv');
  for (const part of ['package.json', 'dist', ...parts]) copyPart(part, installed);
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies))
    symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name), 'junction');
  return installed;
}

/** Copies a file or directory of the checkout into a directory, under the same name. */
export function copyPart(part: string, directory: string): void {
  const target = join(directory, part);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(root, part), target, { recursive: true });
}
