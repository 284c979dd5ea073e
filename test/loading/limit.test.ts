import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { unless } from '../support/unless';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

const missing =
  process.platform !== 'linux'
    ? 'this is not Linux'
    : spawnSync('prlimit', ['--version']).status !== 0
      ? 'there is no prlimit'
      : process.env['WKV_SANITIZED'] !== undefined
        ? 'a sanitizer takes what memory it likes'
        : process.env['WKV_EMULATED'] === '1' && 'an emulator does not say what memory a process has';

// Each thread takes as much of the address space as its stack may grow to.
const largeStacks = '--stack=1073741824:';
const withoutLargeStacks =
  missing || (spawnSync('prlimit', [largeStacks, 'true']).status !== 0 && 'stacks must not be so large here');

let small: string;
let deep: string;
beforeAll(async () => {
  small = await writeRandomModel(folder, 'small', { ...smallShape, layers: 1, vocabulary: 16_384 });
  // A state of 64 MiB.
  const state = { layers: 1, embedding: 16, headSize: 4096, heads: 1, feedForward: 16 };
  deep = await writeRandomModel(folder, 'deep', { ...smallShape, ...state });
});

for (const [what, mode] of [
  ['bytes that are to become a state', 'deserialize'],
  ['bytes that are to become a state on another thread', 'deserializeAsync'],
  ['the numbers of a state', 'values'],
  ['the bytes of a state', 'serialize'],
  ['the bytes of a state, made on another thread', 'serializeAsync'],
  ['the logits after every token, which leaves the session as it was', 'logits'],
  ['the tokens of a text', 'tokens'],
  ['logits to sample from', 'sample'],
  ['another open file', 'files'],
] as const) {
  unless(missing)(`No room for ${what} is ERR_WKV_MEMORY, and the process goes on`, async () => {
    const path = ['values', 'serialize', 'serializeAsync'].includes(mode) ? deep : small;
    // glibc would set aside 64 MiB for each thread's small blocks.
    const environment = { MALLOC_ARENA_MAX: '1' };
    const ended = await runChild(join(__dirname, 'child-limit.ts'), [mode, path], { environment });
    expect(ended).toEqual({ code: 0, stdout: 'ERR_WKV_MEMORY, alive', stderr: '' });
  });
}

unless(withoutLargeStacks)(
  'A system that has few of the threads asked for loads and evaluates with those',
  async () => {
    const runner = join(__dirname, '../support/run-typescript.js');
    const node = [process.execPath, runner, join(__dirname, 'child-limit.ts'), 'threads', small];
    const env = { ...process.env, MALLOC_ARENA_MAX: '1' };
    const options = { env, timeout: 60_000, killSignal: 'SIGKILL' } as const;
    const { stdout, stderr } = await promisify(execFile)('prlimit', [largeStacks, ...node], options);
    expect({ stdout, stderr }).toEqual({ stdout: '16384 logits', stderr: '' });
  },
);
