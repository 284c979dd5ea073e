import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { programs, projects, type Said } from './projects';
import { npmEnvironment } from './registry';
import { evaluate, run, unless } from './support';

// Which files are compiled and how matters here, and not how fast they are: the compiler takes the last option.
process.env['CXXFLAGS'] = '-O0';

const { folder, install, requests } = projects();
const compiler = run('c++', ['--version']).status === 0 && run('make', ['--version']).status === 0;

unless(!compiler && 'there is no compiler or no make')(
  'a package without a prebuilt binary is compiled in its place, without a network, and then works like any other',
  async () => {
    const { directory, node, npm } = await install('compiled');
    const installed = join(directory, 'node_modules/wkv');
    rmSync(join(installed, 'prebuilds'), { recursive: true, force: true });
    await expect(node('program.mjs', programs.esm)).rejects.toThrow(/no binary for this system/);

    const before = requests.length;
    // As the error says it; and with a setting of npm's that would lead node-gyp to other headers.
    await npm(['--prefix', installed, '--nodedir=/nowhere', 'run', 'compile']);
    expect(existsSync(join(installed, 'build/Release/wkv.node'))).toBe(true);
    expect(requests.slice(before)).toEqual([]);
    // Headers that were downloaded would be under here.
    expect(existsSync(join(folder, 'compiled-home/.cache'))).toBe(false);

    const said = JSON.parse(await node('program.mjs', programs.esm)) as Said;
    expect(said).toEqual(JSON.parse(evaluate(programs.esm, { esm: true })));
  },
  600_000,
);

test('compiling without npm and without a node-gyp fails, and says how it works', async () => {
  const { directory } = await install('no-node-gyp');
  const env = npmEnvironment(folder, '');
  const script = join(directory, 'node_modules/wkv/native/compile.js');
  expect(run(process.execPath, [script], { cwd: directory, env })).toEqual({
    status: 1,
    output: expect.stringMatching(/^There is no node-gyp .*npm --prefix ".*wkv" run compile\n$/) as string,
  });
});
