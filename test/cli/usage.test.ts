import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onWindows, unless } from '../support/unless';
import { program, wkv } from './support';

const root = join(__dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

describe('wkv', () => {
  test('prints the version of the package', async () => {
    const { code, stdout, stderr } = await wkv(['--version']);
    expect({ code, stdout: String(stdout), stderr }).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('lists its commands with --help', async () => {
    const { code, stdout } = await wkv(['--help']);
    expect(code).toBe(0);
    for (const command of ['chat', 'generate', 'convert', 'inspect', 'tokenize', 'bench', 'doctor']) {
      expect(String(stdout)).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
  });

  test.each(['chat', 'generate', 'convert', 'inspect', 'tokenize', 'bench', 'doctor'])(
    'shows an example of %s with --help',
    async (name) => {
      const { code, stdout } = await wkv([name, '--help']);
      expect(code).toBe(0);
      expect(String(stdout)).toMatch(new RegExp(`^Usage: wkv ${name} `));
      expect(String(stdout)).toMatch(new RegExp(`^Examples:\\n  \\$ wkv ${name}`, 'm'));
    },
  );

  test.each([
    [['help'], /^Usage: wkv \[options\] \[command\]$/m],
    [['help', 'chat'], /^Usage: wkv chat /],
    [['help', 'help'], /^Usage: wkv help /],
  ])('answers %j', async (parameters, expected) => {
    const { code, stdout } = await wkv(parameters);
    expect(code).toBe(0);
    expect(String(stdout)).toMatch(expected);
  });

  test.each([
    [[], /^Usage: wkv/],
    [['help', 'generat'], /unknown command 'generat'/],
    [['help', 'chat', 'generate'], /too many arguments/],
    [['generat'], /unknown command 'generat'\n\(Did you mean generate\?\)/],
    [['generate', '--max-token', '3', 'a'], /unknown option '--max-token'\n\(Did you mean --max-tokens\?\)/],
    [['generate', 'model.pth', 'Once'], /2 arguments were given.*--model/],
    [['generate', ''], /PROMPT is empty/],
    [['generate', '-'], /PROMPT is empty/],
    [['generate', '--max-tokens', '1.5', 'a'], /--max-tokens.*'1\.5'.*an integer from 0/],
    [['generate', '--temperature', 'warm', 'a'], /--temperature.*'warm'.*from 0 to 100/],
    [['generate', '--top-p', '1.01', 'a'], /--top-p.*from 0 to 1/],
    [['generate', '--stop', '', 'a'], /--stop.*1 to 4096 bytes/],
    [['generate', '--ban', '3,x', 'a'], /--ban.*an integer from 0/],
    [['generate', '--model', '', 'a'], /--model.*It has to be a path/],
    [['chat', '--load', ''], /--load.*It has to be a path/],
    [['tokenize', '--vocabulary', '', 'a'], /--vocabulary.*It has to be a path/],
    [['inspect', ''], /argument 'file'.*It has to be a path/],
    [['generate', '--top-k', '-1', 'a'], /--top-k.*an integer from 0/],
    [['generate', '--min-p', '2', 'a'], /--min-p.*from 0 to 1/],
    [['generate', '--typical-p', '0', 'a'], /--typical-p.*above 0/],
    [['generate', '--presence-penalty', '101', 'a'], /--presence-penalty.*from -100 to 100/],
    [['generate', '--frequency-penalty', 'x', 'a'], /--frequency-penalty.*from -100 to 100/],
    [['generate', '--penalty-decay', '1.5', 'a'], /--penalty-decay.*from 0 to 1/],
    [['generate', '--seed', '18446744073709551616', 'a'], /--seed.*2\^64 - 1/],
    [['generate', '--threads', '0', 'a'], /--threads.*from 1 to 256/],
    [['generate', '--weights', 'f8', 'a'], /--weights.*auto, f32, f16, bf16, int8/],
    [['generate', '--device', 'gpu', 'a'], /--device.*auto, cpu, cuda, or cuda:0/],
    [['chat', 'a.pth'], /chat takes no arguments.*--model before the path of a model/],
    [['chat', '--template', 'alpaca'], /--template.*world, world-v3, instruction, raven, g1, g1-fast/],
    [['chat', '--load', 'a', '--system', 'b'], /cannot be used with option '--system/],
    [['chat', '--load', 'a', '--template', 'g1'], /cannot be used with option '--template/],
    [['inspect', 'a.pth', 'b.pth'], /too many arguments/],
    [['tokenize', '--bytes', 'two', 'texts'], /put the one text in quotes/],
    [['tokenize', '--bytes', '--decode', '256'], /'256' is no token id.*0 to 255/],
    [['tokenize', '--bytes', '--decode', '1', 'x'], /'x' is no token id/],
    [['tokenize', '--bytes', '--vocabulary', 'a.txt', 'a'], /cannot be used with option '--bytes'/],
    [['tokenize', '--decode', '--count', '1'], /cannot be used with option '--count'/],
    [['bench', 'a.pth'], /bench takes no arguments.*--model before the path of a model/],
    [['bench', '--rounds', '0'], /--rounds.*an integer from 1/],
    [['bench', '--weights', 'f8'], /--weights.*auto, f32, f16, bf16, int8/],
    [['bench', '--vocabulary', 'a.txt'], /unknown option '--vocabulary'/],
    [['convert', 'a.pth'], /missing required argument 'out'/],
    [['convert', 'a.pth', 'b', 'c'], /too many arguments/],
    [['convert', 'a.pth', ''], /argument 'out'.*It has to be a path/],
    [['convert', 'a.pth', '-'], /argument 'out'\. A \.safetensors is written; give it that name/],
    ...['b.gguf', 'b.PTH', 'b.bin', 'b.st'].map((out): [string[], RegExp] => [
      ['convert', 'a.pth', out],
      /A \.safetensors is written; give it that name/,
    ]),
    [
      ['convert', '--weights', 'auto', 'a.pth', 'b'],
      /--weights.*Allowed choices are f32, f16, bf16, int8, int4/,
    ],
    [['doctor', 'me'], /too many arguments/],
  ])('refuses %j as wrong usage', async (parameters, message) => {
    const { code, stdout, stderr } = await wkv(parameters);
    expect({ code, stdout: String(stdout) }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });

  unless(onWindows('Windows opens no directory as a file'))(
    'says where standard input is a directory',
    () => {
      const directory = openSync(root, 'r');
      for (const parameters of [['tokenize', '--bytes'], ['generate', '-'], ['chat']]) {
        const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...parameters], {
          encoding: 'utf8',
          stdio: [directory, 'pipe', 'pipe'],
        });
        expect({ parameters, status, stdout, stderr }).toEqual({
          ...{ parameters, status: 1, stdout: '' },
          stderr: 'error: standard input is a directory, not a file\n',
        });
      }
      closeSync(directory);
    },
  );

  test('is a program of its own once it is built', () => {
    const built = join(root, 'dist/cli/main.js');
    if (!existsSync(built)) throw new Error('dist/ is not built: run npm run build first');
    expect(readFileSync(built, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    const { status, stdout } = spawnSync(process.execPath, [built, '--version'], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${version}\n` });
  });
});
