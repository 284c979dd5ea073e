import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { notOnLinux } from '../support/unless';
import { copyPart, root, run, temporaryFolder, unless } from './support';

const folder = temporaryFolder();

/** As nvcc speaks of a kernel that was compiled for one architecture alone. */
const said = `ptxas info    : Compiling entry function '_ZN3wkv4cuda11gemm_kernelEv' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers`;

unless(notOnLinux('the compiler is a shell script'))(
  'A CUDA file in which something is wrong is compiled again the next time',
  () => {
    for (const part of ['native', 'scripts/lib']) copyPart(part, folder);
    const compiler = join(folder, 'bin/nvcc');
    mkdirSync(join(folder, 'bin'));
    writeFileSync(compiler, `#!/bin/sh\nfor last; do :; done\n: > "$last"\ncat << END\n${said}\nEND\n`);
    chmodSync(compiler, 0o755);
    const env = { ...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}` };
    const check = `require('./scripts/lib/cuda').checkCuda().catch(({ message }) => console.log(message))`;
    for (let round = 0; round < 2; round++) {
      const { output } = run(process.execPath, ['-e', check], { cwd: folder, env });
      expect(output).toMatch(/^native\/.*\.cu: gemm is not there for sm_\d+(?:, sm_\d+)+$/m);
    }
  },
);

test("The CUDA packages are wkv's in the version that it asks for, and nobody has to install them", () => {
  const manifest = (directory: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(root, directory, 'package.json'), 'utf8')) as Record<string, unknown>;
  const own = manifest('.');
  const packages = readdirSync(join(root, 'packages')).map((name) => manifest(`packages/${name}`));
  expect(packages).toHaveLength(2);
  for (const { version } of packages) expect(version).toBe(own['version']);
  const of = <Value>(value: Value): Record<string, Value> =>
    Object.fromEntries(packages.map(({ name }) => [String(name), value]));
  expect(own['peerDependencies']).toEqual(of(own['version']));
  expect(own['peerDependenciesMeta']).toEqual(of({ optional: true }));
});
