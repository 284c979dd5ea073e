import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as wkv from '../../lib/index';
import { temporaryFolder } from '../support/model';
import { examplesOf, makeProject, promisedBy, runExample } from './examples';

const root = resolve(__dirname, '../..');
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const page = read('docs/api.md');
const folder = temporaryFolder();

/** All words inside of code, and of headings. */
const named = new Set(
  [...page.matchAll(/^```.*?^```$|`([^`\n]+)`|^## (.*)$/gms)].flatMap(([text]) => text.match(/\w+/g) ?? []),
);

test('docs/api.md names everything that the package exports', () => {
  const index = read('lib/index.ts');
  const exported = [...index.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list = '']) =>
    list.split(',').map((name) => name.replace(/^\s*type\s+/, '').trim()),
  );
  expect(exported).toContain('Session');
  expect(exported.filter((name) => name !== '' && !named.has(name))).toEqual([]);
});

/** What a class or an interface has for its users. */
function membersOf(declaration: string): string[] {
  return [...declaration.matchAll(/^ {4}(?!private\b)(?:static |readonly |get )*(\w+)\??(?:\(|:|<)/gm)]
    .map(([, name = '']) => name)
    .filter((name) => name !== 'constructor');
}

test.each([
  ['model', 'Model'],
  ['model', 'ModelInfo'],
  ['model', 'ModelStatistics'],
  ['session', 'Session'],
  ['state', 'State'],
  ['chat', 'Chat'],
  ['chat/templates', 'Template'],
  ['chat/messages', 'ChatMessage'],
  ['generate', 'GeneratedPart'],
  ['generate', 'Completion'],
  ['tokenizer', 'Tokenizer'],
  ['tokenizer', 'TokenizerLike'],
  ['decoder', 'StreamingDecoder'],
  ['sampler', 'Sampler'],
  ['convert', 'ConvertOptions'],
  ['convert', 'Conversion'],
  ['kernels', 'Wkv5Arguments'],
  ['kernels', 'GemmInt8Arguments'],
  ['kernels', 'Int8Matrix'],
  ['kernels', 'KernelFeatures'],
  ['errors', 'WkvErrorDetails'],
])('docs/api.md names all of what dist/%s.d.ts declares of %s', (file, name) => {
  const declarations = read(`dist/${file}.d.ts`).replace(/\/\*\*.*?\*\//gs, '');
  const declaration = new RegExp(`^export (?:declare class|interface) ${name}\\b.*?^\\}`, 'ms').exec(
    declarations,
  )![0];
  const members = membersOf(declaration);
  expect(members.length).toBeGreaterThan(0);
  expect(members.filter((member) => !named.has(member))).toEqual([]);
});

test('docs/api.md names all kernels', () => {
  expect(Object.keys(wkv.kernels).filter((name) => !named.has(name))).toEqual([]);
});

test('the example of docs/api.md prints what its comments say', async () => {
  const [code = ''] = examplesOf(page);
  makeProject(folder);
  const { code: status, stdout } = await runExample(folder, 'example.mjs', code);
  const promised = promisedBy(code);
  expect(promised.length).toBeGreaterThan(0);
  expect({ status, lines: stdout.trimEnd().split('\n') }).toEqual({ status: 0, lines: promised });
});
