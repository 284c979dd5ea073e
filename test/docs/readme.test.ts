import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { modelFiles } from '../../lib/cli/model-options';
import { demoModel } from '../../lib/index';
import { worldVocabularyPath } from '../../lib/tokenizer';
import { temporaryFolder } from '../support/model';
import { unless } from '../support/unless';
import { blocksOf, examplesOf, makeProject, promisedBy, runExample } from './examples';

const root = resolve(__dirname, '../..');
const folder = temporaryFolder();
const eagle = 'RWKV-v5-Eagle-World-7B-v2-20240128-ctx4096.pth';

const read = (name: string): string => readFileSync(join(root, name), 'utf8');

const english = read('README.md');
const chinese = read('README.zh-CN.md');
const examples = examplesOf(english);

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.mjs'))) {
    throw new Error('dist/ is not built: run npm run build first');
  }
  // A project that depends on the package, and has "Eagle": for that the embedded model has to do.
  makeProject(folder);
  symlinkSync(demoModel, join(folder, eagle));
});

describe('the examples of README.md', () => {
  test('are there, the one of at most fifteen lines and the one of Eagle 7B among them', () => {
    expect(examples.length).toBeGreaterThanOrEqual(5);
    expect(examples[0]!.trimEnd().split('\n').length).toBeLessThanOrEqual(15);
    expect(examples.some((code) => code.includes(eagle))).toBe(true);
  });

  for (const [i, code] of examples.entries()) {
    const absent =
      code.includes('Tokenizer.world()') &&
      !existsSync(worldVocabularyPath) &&
      'the World vocabulary is not there: run npm run vocabulary';
    unless(absent)(`number ${i + 1} runs and prints what its comments say`, async () => {
      const { code: status, stdout, stderr } = await runExample(folder, `example-${i + 1}.mjs`, code);
      expect({ status, failure: stderr.replace(/\rloading: \d+ %/g, '') }).toEqual({
        status: 0,
        failure: '',
      });
      expect(stdout).not.toBe('');
      const promised = promisedBy(code);
      if (promised.length > 0) expect(stdout.trimEnd().split('\n')).toEqual(promised);
    });
  }
});

describe('what README.md says about other tools', () => {
  test('bundles its first example', async () => {
    const [, words = ''] = /^npx esbuild (app\.js .*)$/m.exec(english) ?? [];
    writeFileSync(join(folder, 'app.js'), examples[0]!);
    execFileSync(join(root, 'node_modules/.bin/esbuild'), [...words.split(' '), '--log-level=error'], {
      cwd: folder,
      shell: process.platform === 'win32',
    });
    const [, outfile = ''] = /--outfile=(\S+)/.exec(words) ?? [];
    expect((await runExample(folder, outfile, readFileSync(join(folder, outfile), 'utf8'))).code).toBe(0);
  });

  test('keeps all files that native code opens out of an Electron archive', () => {
    const lists = [...english.matchAll(/\*\*\/\*\.\{([\w,]+)\}/g)].map(([, list = '']) => list.split(','));
    expect(lists.length).toBe(2);
    const models = [...modelFiles.matchAll(/\.(\w+)/g)].map(([, extension]) => extension);
    for (const list of lists) expect(list.sort()).toEqual([...models, 'node', 'so', 'dll'].sort());
  });
});

describe('README.zh-CN.md', () => {
  test('has the same code as README.md', () => {
    const commentsAside = (text: string) =>
      blocksOf(text).map(({ language, code }) => ({
        language,
        // In shell commands the explanations are translated.
        code: language === 'sh' ? code.replace(/ +#.*$/gm, '') : code,
      }));
    expect(commentsAside(chinese)).toEqual(commentsAside(english));
  });

  test('has the same sections, and tables of the same size', () => {
    const outline = (text: string) =>
      text
        .replace(/^```.*?^```$/gms, '')
        .split('\n')
        .filter((line) => /^(#|\|)/.test(line))
        .map((line) => (line.startsWith('|') ? `row of ${line.split(' | ').length}` : /^#+/.exec(line)![0]));
    expect(outline(chinese)).toEqual(outline(english));
  });

  test('names the same files, options, codes and figures', () => {
    const names = (text: string) => [...new Set(text.match(/`[^`\n]+`/g))].sort();
    expect(names(chinese)).toEqual(names(english));
  });
});

test.each([
  'README.md',
  'README.zh-CN.md',
  'docs/api.md',
  'docs/decisions.md',
  'docs/architecture.md',
  'docs/decisions-kernels.md',
  'docs/state-format.md',
  'docs/chat-format.md',
  'docs/packed-format.md',
  'docs/performance.md',
  'docs/cuda.md',
  'docs/grammars.md',
  'docs/quantization.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
])('what %s links to in the repository is there', (name) => {
  const links = [...read(name).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target = '']) => target);
  const missing = links.filter((target) => !existsSync(resolve(root, name, '..', target)));
  expect(missing).toEqual([]);
});

test('README.md names every error code that there is, and no other', () => {
  const codes = (text: string) => [...new Set(text.match(/ERR_WKV_\w+/g))].sort();
  expect(codes(english)).toEqual(codes(read('lib/errors.ts')));
});

test.each([
  ['generate', { 'lib/generate.ts': 'GenerateOptions', 'lib/sampling.ts': 'SamplingOptions' }],
  ['loadModel', { 'lib/load-model.ts': 'LoadOptions' }],
  ['createChat', { 'lib/chat/create.ts': 'ChatOptions' }],
])('README.md lists exactly the options of %s', (heading, types) => {
  const declared = Object.entries(types).flatMap(([file, type]) => {
    const declaration = new RegExp(`export interface ${type} [^{]*\\{\\n(.*?)^\\}`, 'ms').exec(
      read(file),
    )![1]!;
    return [...declaration.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
  });
  const table = new RegExp(`^Options of \`${heading}\`.*?\\n\\n(.*?)\\n\\n`, 'ms').exec(english)![1]!;
  const listed = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  expect(listed.sort()).toEqual(declared.sort());
});

test('CONTRIBUTING.md names every npm script', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const named = [...read('CONTRIBUTING.md').matchAll(/^\| `npm run ([\w:]+)/gm)].map(([, name]) => name);
  expect(new Set(named)).toEqual(new Set(Object.keys(scripts)));
});

test('README.md names every environment variable of the library', () => {
  const sources = ['lib/addon.ts', 'lib/cuda.ts', 'lib/cli/errors.ts', 'lib/cli/doctor.ts']
    .map(read)
    .join('');
  const used = [...sources.matchAll(/process\.env\['(WKV_\w+)'\]/g)].map(([, name]) => name);
  const listed = [...english.matchAll(/^\| `(WKV_\w+)`/gm)].map(([, name]) => name);
  expect(used.length).toBeGreaterThan(2);
  expect(new Set(listed)).toEqual(new Set(used));
});
