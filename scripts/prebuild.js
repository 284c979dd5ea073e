'use strict';

require('./lib/require-node').requireNode();

const { gateAll, gateTools, prebuild, stale, targets } = require('./lib/prebuild');
const { runScript } = require('./lib/run');
const { ensureModules, ensureTools } = require('./lib/setup');

const help = `Usage: npm run prebuild [-- TARGET... | --inspect | --verify]

Builds the addons that the package carries into prebuilds/, and refuses those that would not load everywhere: Node-API 8
alone, nothing newer than glibc 2.28, no other libraries than the system's.

  TARGET      of ${Object.keys(targets).join(', ')} (what this machine can build); default all of them
  --inspect   build nothing, inspect what lies in prebuilds/ (on Linux, for all platforms)
  --verify    build nothing, fail where something in prebuilds/ was made of other sources than these (as npm pack does)

Example: npm run prebuild -- ${Object.keys(targets)[0]}`;

function main(names) {
  if (names.includes('--help')) {
    console.log(help);
    return;
  }
  if (names.length > 1 && names.some((name) => name.startsWith('--'))) {
    console.error(`Cannot take together: ${names.join(' ')}\n\n${help}`);
    process.exitCode = 2;
    return;
  }
  ensureModules();
  if (names.includes('--inspect')) {
    ensureTools(gateTools);
    const files = gateAll();
    if (files.length === 0) throw new Error('There is nothing in prebuilds/.');
    return;
  }
  if (names.includes('--verify')) {
    const files = stale();
    if (files.length > 0) {
      const list = files.map((file) => `prebuilds/${file}`).join(', ');
      throw new Error(
        `Not made of these sources: ${list}. Build them again (npm run prebuild) or remove them.`,
      );
    }
    return;
  }
  const unknown = names.filter((name) => !Object.hasOwn(targets, name));
  if (unknown.length > 0) {
    console.error(`Cannot build here: ${unknown.join(' ')}\n\n${help}`);
    process.exitCode = 2;
    return;
  }
  const chosen = names.length > 0 ? names : Object.keys(targets);
  ensureTools(chosen.flatMap((name) => targets[name].tools));
  for (const name of chosen) prebuild(name);
}

void runScript(main);
