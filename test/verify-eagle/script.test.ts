import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { demoModel } from '../../lib/index';
import { logSoftmax } from '../reference/common';
import { oracle, smallShape, temporaryFolder, writeRandomModel, type Ended } from '../support/model';
import { randomModel } from '../support/random-model';
import { onWindows, unless } from '../support/unless';

const root = resolve(__dirname, '../..');
const folder = temporaryFolder();
const list = join(folder, 'list.jsonl');
const texts = ['a bc', 'The cat sat on the mat', 'naïve 日本 語'];

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.js')))
    throw new Error('dist/ is not built: run npm run build first');
  writeFileSync(list, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
});

/** Runs the script, and interrupts it as soon as its standard error contains `interruptAt`. */
function verify(args: readonly string[], interruptAt?: string): Promise<Ended> {
  const child = spawn(process.execPath, [join(root, 'scripts/verify-eagle.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let interrupted = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    // A second interrupt would kill it.
    if (interrupted || interruptAt === undefined || !stderr.includes(interruptAt)) return;
    interrupted = child.kill('SIGINT');
  });
  return new Promise((done) => {
    child.on('close', (code) => done({ code, stdout, stderr }));
  });
}

/** Accuracy and perplexity of `texts` by the oracle, for a model whose tokens are bytes. */
function expectedFigures(front: number[]): { accuracy: number; perplexity: number } {
  const tensors = randomModel(smallShape);
  const scores = texts.map((text) => {
    const space = text.lastIndexOf(' ');
    const context = [...front, ...Buffer.from(text.slice(0, space))];
    const target = [...Buffer.from(text.slice(space))];
    const { logits } = oracle(tensors, [...context, ...target]);
    const before = target.map((_, i) => logits[context.length - 1 + i]!);
    return {
      greedy: before.every((values, i) => Math.max(...values) === values[target[i]!]),
      logProbability: before.reduce((sum, values, i) => sum + logSoftmax(values)[target[i]!]!, 0),
    };
  });
  return {
    accuracy: scores.filter(({ greedy }) => greedy).length / scores.length,
    perplexity: Math.exp(-scores.reduce((sum, score) => sum + score.logProbability, 0) / scores.length),
  };
}

interface Result {
  passages: number;
  total: number;
  accuracy: number;
  perplexity: number;
  published: { accuracy: number; perplexity: number };
  info: { version: string; weights: string };
}

test.each([
  ['newline', [10]],
  ['zero', [0]],
  ['none', []],
])('with --pad %s the figures are those of the oracle', async (pad, front) => {
  const model = await writeRandomModel(folder, 'random');
  const { code, stdout } = await verify([model, '--lambada', list, '--pad', pad, '--json']);
  const result = JSON.parse(stdout) as Result;
  const { accuracy, perplexity } = expectedFigures(front);
  expect(code).toBe(0);
  expect(result.accuracy).toBe(accuracy);
  // Log-probabilities are within 2e-4 a token of the oracle's, and the longest target has 4 tokens.
  expect(Math.abs(Math.log(result.perplexity / perplexity))).toBeLessThan(8e-4);
  expect(result).toMatchObject({ passages: 3, total: 3, published: { accuracy: 0.742, perplexity: 3.36 } });
});

test('the options for weights and the number of passages are obeyed', async () => {
  const model = await writeRandomModel(folder, 'options');
  const { stdout } = await verify([model, '--lambada', list, '--weights', 'bf16', '--limit', '2', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({
    passages: 2,
    total: 3,
    info: { version: '5.2', weights: 'bf16' },
  });
});

test('the embedded model gets a table with the published figures beside its own', async () => {
  const { code, stdout } = await verify([demoModel, '--lambada', list, '--threads', '1', '--sessions', '2']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^LAMBADA, 3 of 3 passages/);
  expect(stdout).toMatch(/^accuracy +\d+\.\d\d %, standard error \d+\.\d\d % +74\.2 %$/m);
  expect(stdout).toMatch(/^perplexity +[\d.e+]+ +3\.36$/m);
  expect(stdout).toContain('This model is not Eagle 7B');
});

test.each([
  ['no file', []],
  ['two files', ['a.pth', 'b.pth']],
  ['an unknown option', ['a.pth', '--fast']],
  ['--limit 0', ['a.pth', '--limit', '0']],
  ['--limit 1e3', ['a.pth', '--limit', '1e3']],
  ['--threads 257', ['a.pth', '--threads', '257']],
  ['--pad space', ['a.pth', '--pad', 'space']],
  ['--weights int3', ['a.pth', '--weights', 'int3']],
])('%s is wrong usage: exit code 2, and nothing on standard output', async (_what, args) => {
  const { code, stdout, stderr } = await verify(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^error: /);
});

test('--help is no failure and shows an example', async () => {
  const { code, stdout } = await verify(['--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('npm run verify:eagle -- eagle.pth');
});

describe('what cannot be read ends with exit code 1 and one line that names it:', () => {
  test('a weight file that is not there', async () => {
    const { code, stderr } = await verify(['missing.pth', '--lambada', list]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^.*missing\.pth: .+\n$/);
  });

  test('a list that is not there', async () => {
    const { code, stderr } = await verify([demoModel, '--lambada', join(folder, 'missing.jsonl')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^ENOENT.*missing\.jsonl'\n$/);
  });

  test('a list that is none', async () => {
    const broken = join(folder, 'broken.jsonl');
    writeFileSync(broken, '{"text": "a b"}\n[]\n');
    const { code, stderr } = await verify([demoModel, '--lambada', broken]);
    expect(code).toBe(1);
    expect(stderr).toBe(`${broken}, line 2: expected an object with a "text"\n`);
  });
});

unless(onWindows('Windows has no signals for children'))(
  'Ctrl-C ends it long before the last passage, with exit code 1',
  async () => {
    const long = join(folder, 'long.jsonl');
    const text = `${'word '.repeat(400)}end`;
    writeFileSync(long, `${JSON.stringify({ text })}\n`.repeat(3000));
    const model = await writeRandomModel(folder, 'interrupted');
    const { code, stdout, stderr } = await verify([model, '--lambada', long], 'Scoring');
    expect(code).toBe(1);
    expect(stdout).not.toContain('3000 of 3000');
    expect(stderr).toMatch(/Interrupted\.\n$/);
  },
);
