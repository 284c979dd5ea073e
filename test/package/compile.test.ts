import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { notOnLinux } from '../support/unless';
import { copyPart, root, run, temporaryFolder, unless } from './support';

const folder = temporaryFolder();
const installed = join(folder, 'installed');
const script = join(installed, 'native/compile.js');
const description = join(installed, 'binding.gyp');

/** The environment in which this file stands in for node-gyp. */
function withNodeGyp(name: string, program: string): NodeJS.ProcessEnv {
  const file = join(folder, `${name}.js`);
  writeFileSync(file, program);
  return { ...process.env, npm_config_node_gyp: file };
}

beforeAll(() => copyPart('native/compile.js', installed));

describe('npm run compile in the installed package', () => {
  const env = (): NodeJS.ProcessEnv =>
    withNodeGyp('says', "console.log(require('node:fs').readFileSync('binding.gyp', 'utf8'));");

  test('has a binding.gyp for as long as it runs', () => {
    const { status, output } = run(process.execPath, [script], { env: env() });
    expect(output).toContain("{ 'includes': [ 'native/addon.gypi' ] }");
    expect(status).toBe(0);
    expect(existsSync(description)).toBe(false);
  });

  test('removes one that a process left behind that was killed, but none of somebody else', () => {
    writeFileSync(description, "{ 'includes': [ 'native/addon.gypi' ] }\n");
    run(process.execPath, [script], { env: env() });
    expect(existsSync(description)).toBe(false);

    const own = join(folder, 'own');
    copyPart('native/compile.js', own);
    copyPart('binding.gyp', own);
    run(process.execPath, [join(own, 'native/compile.js')], { env: env() });
    expect(readFileSync(join(own, 'binding.gyp'), 'utf8')).toBe(
      readFileSync(join(root, 'binding.gyp'), 'utf8'),
    );
  });

  test("ends with node-gyp's exit code", () => {
    const failing = withNodeGyp('fails', 'process.exit(7);');
    expect(run(process.execPath, [script], { env: failing }).status).toBe(7);
  });

  test("finds packages with Yarn's Plug'n'Play", () => {
    const project = join(folder, 'plug and play');
    const unplugged = join(project, '.yarn/unplugged/wkv');
    copyPart('native/compile.js', unplugged);
    mkdirSync(project, { recursive: true });
    writeFileSync(join(project, '.pnp.cjs'), "console.log('Plug and play');\n");
    const { output } = run(process.execPath, [join(unplugged, 'native/compile.js')], { env: env() });
    expect(output).toContain('Plug and play');
  });

  unless(notOnLinux('a signal ends a process at once on Windows'))(
    'leaves no binding.gyp when it is interrupted',
    async () => {
      const waiting = withNodeGyp('waits', "console.log('waiting'); setTimeout(() => {}, 60_000);");
      const child = spawn(process.execPath, [script], { env: waiting, stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      const ended = new Promise((resolve) => child.on('close', resolve));
      for await (const text of child.stdout.setEncoding('utf8')) {
        output += String(text);
        if (!output.includes('waiting')) continue;
        expect(existsSync(description)).toBe(true);
        child.kill('SIGINT');
        break;
      }
      expect(await ended).not.toBe(0);
      expect(existsSync(description)).toBe(false);
    },
  );
});
