import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../support/model';
import { describeWithWorld } from '../tokenizer/support';
import { expectFailure, json, wkv } from './support';

const folder = temporaryFolder();
const vocabulary = join(folder, 'vocabulary.txt');
writeFileSync(
  vocabulary,
  ["1 'a' 1", "2 'ab' 2", "3 '\\n' 1", "4 b'\\xf0\\x9f' 2", "5 b'\\xa6\\x8a' 2", "6 'é' 2", ''].join('\n'),
);

async function tokenize(parameters: readonly string[], input?: string | Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await wkv(
    ['tokenize', ...parameters],
    input === undefined ? {} : { input },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.toString('latin1');
}

describe('wkv tokenize', () => {
  test('shows ids and pieces, line by line, with what is no UTF-8 escaped', async () => {
    const lines = ['2  "ab"', '1  "a"', '3  "\\n"', '4  "\\xf0\\x9f"', '5  "\\xa6\\x8a"', '6  "é"', ''];
    const found = await tokenize(['--vocabulary', vocabulary, 'aba\n🦊é']);
    expect(Buffer.from(found, 'latin1').toString('utf8')).toBe(lines.join('\n'));
  });

  test('escapes what a terminal would take for a command', async () => {
    expect(await tokenize(['--bytes', '\u001b"\\'])).toBe(' 27  "\\x1b"\n 34  "\\""\n 92  "\\\\"\n');
  });

  test('takes standard input byte for byte', async () => {
    const outcome = await wkv(['tokenize', '--bytes', '--json'], { input: Uint8Array.of(0x61, 0xff, 0x0a) });
    expect(json(outcome)).toEqual({
      count: 3,
      tokens: [0x61, 0xff, 0x0a],
      pieces: ['a', [255], '\n'],
    });
  });

  test('only counts with --count', async () => {
    expect(await tokenize(['--bytes', '--count', '-'], 'é\n')).toBe('3\n');
    expect(json(await wkv(['tokenize', '--bytes', '--count', '--json', 'é']))).toEqual({ count: 2 });
  });

  test('shows every token of a long text, as JSON, in lines and in numbers', async () => {
    const input = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
    expect(await tokenize(['--bytes', '--count'], input)).toBe('300000\n');
    const { count, tokens, pieces } = json(await wkv(['tokenize', '--bytes', '--json'], { input }));
    expect(count).toBe(300_000);
    expect(tokens).toEqual([...input]);
    expect(pieces).toHaveLength(300_000);
    const lines = (await tokenize(['--bytes'], input)).split('\n');
    expect(lines).toHaveLength(300_001);
    expect(lines.slice(0, -1).map((line) => Number(line.slice(0, 3)))).toEqual([...input]);
  });

  test('shows nothing of nothing', async () => {
    expect(await tokenize(['--bytes', ''])).toBe('');
  });

  test('turns ids into the very bytes with --decode', async () => {
    expect(await tokenize(['--bytes', '--decode', '104', '105', '255', '0'])).toBe('hi\u00ff\u0000');
    expect(await tokenize(['--bytes', '--decode'], '[104,\n105]')).toBe('hi');
  });

  test('decodes what it encoded with --json', async () => {
    const { tokens } = json(await wkv(['tokenize', '--vocabulary', vocabulary, '--json', 'ab🦊']));
    const ids = (tokens as number[]).join(' ');
    expect(json(await wkv(['tokenize', '--vocabulary', vocabulary, '--decode', '--json', ids]))).toEqual({
      tokens,
      text: 'ab🦊',
    });
  });

  test('fails at text that the vocabulary has no token for, and at a vocabulary that is none', async () => {
    expectFailure(await wkv(['tokenize', '--vocabulary', vocabulary, 'abc']), /no token|0x63/i);
    const broken = join(folder, 'broken.txt');
    writeFileSync(broken, 'not a vocabulary\n');
    expectFailure(await wkv(['tokenize', '--vocabulary', broken, 'a']), /broken\.txt, line 1/);
  });
});

describeWithWorld('wkv tokenize without an option', () => {
  test('uses the World vocabulary', async () => {
    // Lines of the vocabulary itself: 33155 'Hello' 5, 45 ',' 1, 40213 ' world' 6.
    const tokens = await wkv(['tokenize', '--json', 'Hello, world']);
    expect(json(tokens)).toMatchObject({ count: 3, pieces: ['Hello', ',', ' world'] });
  });
});
