import { cpSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolder } from '../support/model';
import { blocksOf, examplesOf, makeProject, promisedBy, runExample } from './examples';

const root = resolve(__dirname, '../..');
const page = readFileSync(join(root, 'docs/grammars.md'), 'utf8');
const folder = temporaryFolder();
beforeAll(() => {
  makeProject(folder);
  // The copy that the page says to make.
  const [, from = '', to = ''] =
    /^cp (\S+) (\S+)$/m.exec(
      blocksOf(page)
        .map(({ code }) => code)
        .join(''),
    ) ?? [];
  cpSync(join(root, from), join(folder, to));
});

test.each(examplesOf(page).map((code, i) => [i + 1, code] as const))(
  'example %i of docs/grammars.md prints what its comments say',
  async (number, code) => {
    const promised = promisedBy(code);
    expect(promised.length).toBeGreaterThan(0);
    const { code: status, stdout, stderr } = await runExample(folder, `example-${number}.mjs`, code);
    expect({ status, stderr, lines: stdout.trimEnd().split('\n') }).toEqual({
      status: 0,
      stderr: '',
      lines: promised,
    });
  },
);
