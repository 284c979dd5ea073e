'use strict';

// Compiles the addon from the sources of the package, for a system that no prebuilt binary fits:
//   npm --prefix node_modules/wkv run compile
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
/** What node-gyp looks for. A checkout has it. The package does not, because Yarn compiles whatever has one. */
const description = path.join(root, 'binding.gyp');
const written = "{ 'includes': [ 'native/addon.gypi' ] }\n";

/** npm tells the scripts that it runs where its own is; without npm, the project may have one. */
function findNodeGyp() {
  if (process.env.npm_config_node_gyp) return process.env.npm_config_node_gyp;
  try {
    return require.resolve('node-gyp/bin/node-gyp.js');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}

/** With Yarn's Plug'n'Play, packages are found by what this file puts into Node, and by nothing else. */
function plugAndPlay() {
  try {
    require.resolve('node-addon-api');
    return [];
  } catch {
    for (let folder = root; ; folder = path.dirname(folder)) {
      const file = path.join(folder, '.pnp.cjs');
      if (fs.existsSync(file)) return [`--require ${JSON.stringify(file)}`];
      if (folder === path.dirname(folder)) return [];
    }
  }
}

/** Removed however this ends: Yarn and others compile whatever has one. */
function describe() {
  if (fs.existsSync(description) && fs.readFileSync(description, 'utf8') !== written) return;
  fs.writeFileSync(description, written);
  process.on('exit', () => fs.rmSync(description, { force: true }));
}

function compile(nodeGyp) {
  // With the package's own directory of headers node-gyp downloads nothing; on Windows it has to get Node's node.lib.
  const headers = process.platform === 'win32' ? [] : ['--nodedir=native/nodedir'];
  // To node-gyp, variables are worth more than arguments.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_(config|package_config)_(node_gyp_|nodedir$)/i.test(name),
    ),
  );
  const options = [...plugAndPlay(), process.env.NODE_OPTIONS ?? ''].join(' ').trim();
  if (options !== '') env.NODE_OPTIONS = options;
  describe();
  const child = spawn(process.execPath, [nodeGyp, 'rebuild', ...headers, '--jobs=max', '--loglevel=warn'], {
    cwd: root,
    env,
    stdio: 'inherit',
  });
  // At Ctrl-C the compiler gets it too, and ends.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    throw error;
  });
  child.on('exit', (status) => {
    process.exitCode = status ?? 1;
  });
}

const nodeGyp = findNodeGyp();
if (process.argv.length > 2) {
  // What was compiled before would be gone.
  console.error(
    'Usage: npm --prefix node_modules/wkv run compile\n\nCompiles the addon. It takes no arguments.',
  );
  process.exitCode = process.argv[2] === '--help' ? 0 : 2;
} else if (nodeGyp === undefined) {
  const command = `npm --prefix ${JSON.stringify(root)} run compile`;
  console.error(`There is no node-gyp to compile with. npm has one and lends it to this: ${command}`);
  process.exitCode = 1;
} else {
  console.log('Compiling the addon of wkv, which takes a few minutes');
  compile(nodeGyp);
}
