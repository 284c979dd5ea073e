import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { type Outcome, evaluate, root, run, temporaryFolder } from './support';

const entries = ['check', 'demo', 'build'];

describe('a Node that is too old', () => {
  test.each(entries)('is refused by npm run %s, which says how to get another one', (name) => {
    const pretend = `Object.defineProperty(process.versions, 'node', { value: '18.20.8' });
      process.argv.push('--help');
      require('./scripts/${name}.js');`;
    const { status, output } = run(process.execPath, ['-e', pretend]);
    expect(status).toBe(1);
    expect(output).toContain('this is Node 18.20.8');
    expect(output).toContain('https://nodejs.org/');
  });

  test.each([
    ['20.19.0', true],
    ['20.18.9', false],
    ['21.7.0', false],
    ['22.12.0', false],
    ['22.13.1', true],
    ['23.11.0', false],
    ['24.0.0', true],
    ['26.10.0', true],
  ])('is told by package.json: %s is taken: %s', (version, taken) => {
    const program = `const { satisfies } = require('./scripts/lib/require-node');
      console.log(satisfies('${version}', require('./package.json').engines.node));`;
    expect(evaluate(program).trim()).toBe(String(taken));
  });
});

describe('a missing program', () => {
  const missing = (prepare: string): Outcome =>
    run(process.execPath, [
      '-e',
      `${prepare}
       const absent = (name) => ({ name, present: () => false });
       require('./scripts/lib/setup').ensureTools([absent('g++'), { name: 'make', present: () => true }, absent('cmake')]);`,
    ]);

  test('is named, and no other, to a user who may not install it', () => {
    const { status, output } = missing('process.getuid = () => 1000;');
    expect(status).not.toBe(0);
    expect(output).toContain('These programs are missing: g++, cmake.');
  });

  const apt = run('apt-get', ['--version']).status === 0;
  (apt ? test : test.skip)(
    `comes with the command that installs it${apt ? '' : ' (skipped, because there is no apt-get)'}`,
    () => {
      const { output } = missing('process.getuid = () => 1000;');
      expect(output).toContain('sudo apt-get update && sudo apt-get install -y g++ cmake\n');
    },
  );
});

test.each(entries)('npm run %s explains itself with --help', (name) => {
  const { status, output } = run(process.execPath, [`scripts/${name}.js`, '--help']);
  expect(status).toBe(0);
  expect(output).toMatch(new RegExp(`^Usage: npm run ${name}`));
});

test('npm run check refuses an option that it does not know', () => {
  const { status, output } = run(process.execPath, ['scripts/check.js', '--fast']);
  expect(status).toBe(2);
  expect(output).toContain('--fast');
});

test('npm run check refuses a step that there is not, and runs one that there is', () => {
  const step = (name: string): ReturnType<typeof run> =>
    run(process.execPath, ['scripts/check.js', '--step', name]);
  expect(step('pyflake')).toEqual({
    status: 2,
    output: expect.stringContaining('--step pyflake\n') as string,
  });
  // Whether it passes says the step itself.
  expect(step('pyflakes').output).toMatch(/^\n== pyflakes\n/);
});

test('the scripts that run before node_modules exists need only modules of Node', () => {
  const files = [
    ...entries.map((name) => `scripts/${name}.js`),
    ...readdirSync(join(root, 'scripts/lib')).map((name) => `scripts/lib/${name}`),
  ];
  const foreign = files.flatMap((file) =>
    // What functions require, they require when they are called.
    [...readFileSync(join(root, file), 'utf8').matchAll(/^\S.*require\('([^']+)'\)/gm)]
      .map((match) => match[1] ?? '')
      .filter((name) => !name.startsWith('.') && !builtinModules.includes(name.replace(/^node:/, '')))
      .map((name) => `${file}: ${name}`),
  );
  expect(foreign).toEqual([]);
});

const folder = temporaryFolder();

test('a package that has another checksum than expected is refused, and nothing of it stays', () => {
  const cache = join(root, 'out/packages');
  mkdirSync(cache, { recursive: true });
  const before = readdirSync(cache);
  writeFileSync(join(folder, 'package.json'), '{ "name": "other", "version": "1.0.0" }');
  const program = `try {
      require('./scripts/lib/registry').fetchPackage(process.argv[1], { integrity: 'sha512-expected' });
    } catch ({ message }) {
      console.log(message);
    }`;
  const { output } = run(process.execPath, ['-e', program, folder]);
  expect(output).toMatch(/ has the checksum sha512-\S{88}, expected sha512-expected\n$/);
  expect(readdirSync(cache)).toEqual(before);
});
