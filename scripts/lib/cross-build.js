'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { jobs } = require('./build');
const { outdated } = require('./files');
const { root, run } = require('./run');

/**
 * Builds the addon for another system with CMake in out/NAME/build. Returns where it is then.
 *
 * @param settings CMake's variables that name the compiler and the system
 * @param env what the compiler finds in its environment
 * @param inputs what they come from: what was built with older ones is built anew
 * @param link whether it is linked, too
 */
function crossBuild({ name, settings, env = {}, inputs, link = true }) {
  const build = `out/${name}/build`;
  const all = ['node_modules/.package-lock.json', 'scripts/lib/cross-build.js', ...inputs];
  // The last file that CMake writes, where all went well.
  if (outdated(`${build}/Makefile`, all)) {
    fs.rmSync(path.join(root, build), { recursive: true, force: true });
    const headers = [require('node-addon-api').include_dir, require('node-api-headers').include_dir];
    const variables = {
      CMAKE_BUILD_TYPE: 'Release',
      CMAKE_JS_INC: headers.map((directory) => path.resolve(directory)).join(';'),
      ...settings,
    };
    const options = Object.entries(variables).map(([variable, value]) => `-D${variable}=${value}`);
    run('cmake', ['-G', 'Unix Makefiles', '-S', '.', '-B', build, ...options], { env, capture: true });
  }
  const parts = link ? ['wkv'] : ['wkv_core', 'wkv_addon'];
  run('cmake', ['--build', build, '--target', ...parts, '--parallel', jobs], { env, capture: true });
  return path.join(root, build, 'wkv.node');
}

module.exports = { crossBuild };
