import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const root = resolve(__dirname, '../..');

describe('examples/demo.mjs', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['examples/demo.mjs'], {
    cwd: root,
    encoding: 'utf8',
  });

  test('succeeds, and complains about nothing', () => {
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  test('saves in the middle of a story, and the resumed session goes on identically', () => {
    const [, first, second] =
      /── The session goes on ─+\n\n(.*?)\n\n── The model is loaded anew.*?─\n\n(.*?)\n\nModel and session/s.exec(
        stdout,
      ) ?? [];
    expect(first).toMatch(/\w/);
    expect(second).toBe(first);
    expect(stdout).toMatch(/✓ The two continuations are identical: [1-9]\d* tokens/);
  });

  test('answers two questions in two branches', () => {
    expect(stdout).toMatch(/User: What was the fox's name\?\n\w.*\n\nUser: What did they eat\?\n\w/);
  });

  test('is plain text where it is no terminal', () => {
    // eslint-disable-next-line no-control-regex -- to find them is the purpose
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
  });
});
