'use strict';

const { spawn, spawnSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '../..');

/** The environment for a child: npm's own settings stay out of it, so that every machine builds alike. */
function environment(extra) {
  const env = { ...process.env };
  for (const name of Object.keys(env)) {
    if (/^npm_(config|package_config)_(node_gyp_|nodedir$)/i.test(name)) delete env[name];
  }
  return { ...env, ...extra };
}

function describe(command, args) {
  return [command, ...args]
    .map((part) => (/^[\w./:=@,+-]+$/.test(part) ? part : JSON.stringify(part)))
    .join(' ');
}

/** A path or another text as one word of a shell's command. */
const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Runs a command at the top of the checkout (or in `cwd`), without standard input. Throws when it fails.
 * With `capture`, its output is returned instead of shown (and shown only when it fails).
 */
function run(command, args, { env, capture = false, cwd = root } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env: environment(env),
    stdio: ['ignore', capture ? 'pipe' : 'inherit', capture ? 'pipe' : 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (result.error) throw new Error(`${describe(command, args)}: ${result.error.message}`);
  if (result.status !== 0) {
    if (capture) process.stdout.write(result.stdout + result.stderr);
    throw new Error(`${describe(command, args)} failed (${result.signal ?? `exit code ${result.status}`})`);
  }
  return result.stdout ?? '';
}

/** Runs a command beside others: resolves with its exit code and all that it wrote. */
function runAsync(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    child.on('error', reject).on('close', (status) => resolve({ status, output }));
  });
}

/** Does some work for each item, so many at a time: by default as many as there are processors. */
async function inParallel(items, work, atATime = os.availableParallelism()) {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
}

/** Runs a Node script: a path inside the checkout, for example node_modules/jest/bin/jest.js. */
function runNode(script, args, options) {
  return run(process.execPath, [path.join(root, script), ...args], options);
}

/** Runs a script's function with the arguments of the command; an error is a line on the screen, and exit code 1. */
async function runScript(script) {
  try {
    await script(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}

module.exports = { inParallel, root, run, runAsync, runNode, runScript, shellWord };
