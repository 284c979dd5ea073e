'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

require('./lib/require-node').requireNode();

const { buildCudaSimulated } = require('./lib/native');
const { root, runScript, shellWord } = require('./lib/run');
const { checkTools, ensureModules, ensureTools } = require('./lib/setup');

const help = `Usage: npm run test:mutants [-- NAME...]

Tests the tests of the CUDA kernels: plants one bug after another into a copy of a kernel and runs the tests on the
simulated GPU, with and without the look-out for races. Fails where a bug goes unnoticed. Takes some minutes.`;

/**
 * A bug has a name, the file that it is in (under native/), `from` and `to`, text that is there exactly once and what
 * takes its place, and the sources to be `compiled` where the file is a header. Which `tests` run goes by the list.
 */
const all = '--test-suite-exclude="CUDA model,CUDA library,CUDA arguments,CUDA pages,draws*"';
const mutants = [
  { name: 'products', tests: '--test-suite="CUDA gemm*"' },
  { name: 'int4', tests: '--test-suite="CUDA gemm*"' },
  { name: 'recurrences', tests: all },
  { name: 'rows', tests: all },
  { name: 'layers', tests: '--test-suite="CUDA all layers*"' },
].flatMap(({ name, tests }) => require(`./mutants/${name}`).map((mutant) => ({ ...mutant, tests })));

const folder = path.join(root, 'out/mutants');

function shell(command, cwd, timeout) {
  return spawnSync('sh', ['-c', command], { cwd, encoding: 'utf8', timeout, killSignal: 'SIGKILL' });
}

function must(command, cwd) {
  const { status, stdout, stderr } = shell(command, cwd);
  if (status !== 0) throw new Error(`${command}\n${stdout}${stderr}`);
  return stdout;
}

/** The file with the bug in it. */
function mutated({ name, file, from, to }) {
  const text = fs.readFileSync(path.join(root, 'native', file), 'utf8');
  if (text.split(from).length !== 2) throw new Error(`${name}: ${file} does not have this once:\n${from}`);
  return text.replace(from, () => to);
}

/** Writes it where the compiler looks first. */
function plant(mutant) {
  const { file } = mutant;
  const copy = path.join(folder, 'native', file);
  fs.mkdirSync(path.dirname(copy), { recursive: true });
  fs.writeFileSync(copy, mutated(mutant));
}

/** As ninja or make has it. */
function linkCommand(build, target) {
  const ofMake = path.join(build, `CMakeFiles/${target}.dir/link.txt`);
  if (fs.existsSync(ofMake)) return fs.readFileSync(ofMake, 'utf8').trim();
  return must(`ninja -t commands ${target}`, build).trim().split('\n').at(-1);
}

/** Builds a test program with these sources compiled anew. The build's own commands are changed a little. */
function link({ build, target, objects, sources }) {
  const commands = JSON.parse(fs.readFileSync(path.join(build, 'compile_commands.json'), 'utf8'));
  let command = linkCommand(build, target);
  for (const source of sources) {
    const object = `CMakeFiles/${objects}.dir/native/${source}.o`;
    const compile = commands.find((each) => each.command.includes(`-o ${object} `));
    if (compile === undefined) throw new Error(`the build has no ${object}`);
    const mutated = path.join(folder, `${target}-${source.replaceAll('/', '_')}.o`);
    const planted = path.join(folder, 'native', source);
    const own = fs.existsSync(planted) ? planted : path.join(root, 'native', source);
    must(
      compile.command
        .replace(`-o ${object} `, () => `-o ${shellWord(mutated)} `)
        .replace(compile.file, () => own)
        .replace(' -I', () => ` -I${shellWord(path.join(folder, 'native'))} -I`)
        // A bug may leave a variable that nothing uses.
        .concat(' -Wno-error'),
      build,
    );
    command = command.replace(object, () => shellWord(mutated));
  }
  const program = path.join(folder, target);
  must(
    command.replace(`-o ${target} `, () => `-o ${shellWord(program)} `),
    build,
  );
  return program;
}

const builds = [
  { target: 'wkv_cuda_test', objects: 'wkv_cuda_simulated', called: 'values' },
  { target: 'wkv_cuda_races_test', objects: 'wkv_cuda_reporting', called: 'races' },
];

/** Which of the builds' tests notice the bug. */
function noticed(mutant, build) {
  fs.rmSync(folder, { recursive: true, force: true });
  plant(mutant);
  return builds.filter(({ target, objects }) => {
    const program = link({ build, target, objects, sources: mutant.compiled ?? [mutant.file] });
    const { status } = shell(`${shellWord(program)} ${mutant.tests}`, build, 300_000);
    if (status === null) throw new Error(`${mutant.name}: the tests ran out of time`);
    return status !== 0;
  });
}

function main(names) {
  if (names.includes('--help')) {
    console.log(help);
    return;
  }
  const unknown = names.find((name) => !mutants.some((mutant) => mutant.name === name));
  if (unknown !== undefined) {
    throw new Error(`${unknown} is none of: ${mutants.map(({ name }) => name).join('; ')}`);
  }
  mutants.forEach(mutated);
  ensureTools(checkTools);
  ensureModules();
  const build = buildCudaSimulated();
  const chosen = mutants.filter(({ name }) => names.length === 0 || names.includes(name));
  let missed = 0;
  for (const mutant of chosen) {
    const by = noticed(mutant, build).map(({ called }) => called);
    missed += by.length === 0 ? 1 : 0;
    console.log(
      `${by.length === 0 ? 'MISSED' : 'found '}  ${mutant.name}${by.length > 0 ? ` (${by.join(', ')})` : ''}`,
    );
  }
  console.log(`${chosen.length - missed} passed, ${missed} failed`);
  if (missed > 0) process.exitCode = 1;
}

void runScript(main);
