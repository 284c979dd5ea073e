'use strict';

// Compiles the addon from the sources of the package, for a system that no prebuilt binary fits:
//   npm --prefix node_modules/wkv run compile
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
/** What node-gyp looks for. A checkout has it. The package does not, because Yarn compiles whatever has one. */
const description = path.join(root, 'binding.gyp');

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

function compile(nodeGyp) {
  // With the package's own directory of headers node-gyp downloads nothing; on Windows it has to get Node's node.lib.
  const headers = process.platform === 'win32' ? [] : ['--nodedir=native/nodedir'];
  // To node-gyp, variables are worth more than arguments.
  const env = Object.entries(process.env).filter(
    ([name]) => !/^npm_(config|package_config)_(node_gyp_|nodedir$)/i.test(name),
  );
  const written = !fs.existsSync(description);
  if (written) fs.writeFileSync(description, "{ 'includes': [ 'native/addon.gypi' ] }\n");
  try {
    const { status, error } = spawnSync(
      process.execPath,
      [nodeGyp, 'rebuild', ...headers, '--jobs=max', '--loglevel=warn'],
      { cwd: root, env: Object.fromEntries(env), stdio: 'inherit' },
    );
    if (error) throw error;
    return status ?? 1;
  } finally {
    if (written) fs.rmSync(description);
  }
}

const nodeGyp = findNodeGyp();
if (nodeGyp === undefined) {
  console.error(
    'There is no node-gyp to compile with. npm has one and lends it to this: npm --prefix node_modules/wkv run compile',
  );
  process.exitCode = 1;
} else {
  console.log('Compiling the addon of wkv, which takes a few minutes');
  process.exitCode = compile(nodeGyp);
}
