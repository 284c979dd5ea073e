import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtAddon, layOut, root, run, temporaryFolder, unless, type Outcome } from './support';

const project = temporaryFolder();
const here = `${process.platform}-${process.arch}`;
let installed: string;

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.js')))
    throw new Error('dist/ is not built: run npm run build first');
  installed = layOut(project);
});

const environment = { ...process.env, WKV_PREBUILD: undefined };

/** What requiring the package says: the code and the message of the error, and whether its cause is known. */
function require(
  flags: readonly string[] = [],
  env: NodeJS.ProcessEnv = environment,
): { code: string; path?: string; message: string; caused: boolean } {
  const program = `
    try { require('wkv'); console.log('{}'); }
    catch ({ code, path, message, cause }) {
      console.log(JSON.stringify({ code, path, message, caused: cause instanceof Error }));
    }`;
  const { output } = run(process.execPath, [...flags, '-e', program], { cwd: project, env });
  return JSON.parse(output) as ReturnType<typeof require>;
}

const doctor = (): Outcome =>
  run(process.execPath, [join(installed, 'dist/cli/main.js'), 'doctor'], { env: environment });

/** Gives the package these prebuilt files and no others, for as long as `use` runs. */
function withPrebuilds(files: Readonly<Record<string, string>>, use: () => void): void {
  const prebuilds = join(installed, 'prebuilds');
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(prebuilds, name, '..'), { recursive: true });
    writeFileSync(join(prebuilds, name), content);
  }
  try {
    use();
  } finally {
    rmSync(prebuilds, { recursive: true, force: true });
  }
}

const command = (): string => `npm --prefix ${JSON.stringify(installed)} run compile`;

describe('a package without a binary for this system', () => {
  test('says in one paragraph what it looked for, what there is, and how to compile one', () => {
    withPrebuilds({ 'plan9-mips/wkv.node': '', 'beos-ppc/wkv.musl.node': '' }, () => {
      const error = require();
      expect(error).toMatchObject({ code: 'ERR_WKV_DEVICE', caused: true });
      expect(error.message).not.toContain('\n');
      const { platform, arch, versions } = process;
      expect(error.message).toContain(`${platform} ${arch}`);
      expect(error.message).toContain(`Node ${versions.node}`);
      expect(error.message).toContain('beos-ppc (musl), plan9-mips');
      expect(error.message).toContain(command());
    });
  });

  unless(process.platform !== 'linux' && 'only on Linux there are several C libraries')(
    'names the C library that it looked for',
    () => {
      expect(require().message).toMatch(/linux \w+ (glibc \d+\.\d+|musl)/);
    },
  );

  test('is no riddle to wkv doctor and the other commands, and none to wkv --version', () => {
    const { status, output } = doctor();
    expect(status).toBe(1);
    expect(output).toMatch(/^broken +binary +wkv has no binary for this system [^\n]* none at all[^\n]*\n/m);
    expect(output).toContain(command());
    const cli = join(installed, 'dist/cli/main.js');
    expect(run(process.execPath, [cli, 'tokenize', 'a'], { env: environment })).toMatchObject({
      status: 1,
      output: expect.stringMatching(/^error: wkv has no binary for this system [^\n]*\n$/) as string,
    });
    expect(run(process.execPath, [cli, '--version'], { env: environment }).status).toBe(0);
  });
});

test('WKV_PREBUILD that leads nowhere is to be unset', () => {
  const { message } = require([], { ...environment, WKV_PREBUILD: join(project, 'nowhere') });
  expect(message).toMatch(/nowhere there is none at all\. Unset WKV_PREBUILD to use its own$/);
});

test('A process that may not load addons, or read what tells C libraries apart, is told of it', () => {
  withPrebuilds({ [`${here}/wkv.node`]: 'not a library' }, () => {
    const told =
      /^Node was started without a permission that wkv needs .*--allow-addons, and --allow-fs-read/;
    expect(require(['--no-addons'])).toMatchObject({
      code: 'ERR_WKV_DEVICE',
      message: expect.stringMatching(told) as string,
    });
    const [flag = ''] = ['--permission', '--experimental-permission'].filter((name) =>
      process.allowedNodeEnvironmentFlags.has(name),
    );
    const readable = [root, project].map((path) => `--allow-fs-read=${path}/`);
    const { message } = require(['--no-warnings', flag, '--allow-addons', ...readable]);
    expect(message).toMatch(process.platform === 'linux' ? told : /does not load here/);
  });
});

unless(!existsSync(builtAddon) && 'the addon is not built')(
  'With the permissions that the README names, it loads under the permission model',
  () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const [, flags = ''] = /`node --permission (--allow-addons .*) app\.js`/.exec(readme) ?? [];
    const [flag = ''] = ['--permission', '--experimental-permission'].filter((name) =>
      process.allowedNodeEnvironmentFlags.has(name),
    );
    const app = join(project, 'app.js');
    writeFileSync(app, "require('wkv'); console.log('loaded');");
    mkdirSync(join(installed, 'build/Release'), { recursive: true });
    cpSync(builtAddon, join(installed, 'build/Release/wkv.node'));
    try {
      // What it depends on is linked from elsewhere here.
      const linked = `--allow-fs-read=${join(root, 'node_modules')}/`;
      const parameters = [flag, '--no-warnings', linked, ...flags.split(' '), 'app.js'];
      expect(run(process.execPath, parameters, { cwd: project, env: environment }).output).toBe('loaded\n');
    } finally {
      rmSync(join(installed, 'build'), { recursive: true });
    }
  },
);

describe('a binary that does not load', () => {
  test('is named with what the system says, and what to do', () => {
    withPrebuilds({ [`${here}/wkv.node`]: 'not a library' }, () => {
      const path = join(installed, 'prebuilds', here, 'wkv.node');
      const error = require();
      expect(error).toMatchObject({ code: 'ERR_WKV_DEVICE', path, caused: true });
      expect(error.message).not.toContain('\n');
      expect(error.message).toContain(`The file is ${path}`);
      expect(error.message).toContain(command());
      const { status, output } = doctor();
      expect(status).toBe(1);
      expect(output).toMatch(/^broken +binary +the binary of wkv does not load here/m);
    });
  });
});

unless(!existsSync(builtAddon) && 'the addon is not built')(
  'a binary that was compiled in the package is preferred to a prebuilt one',
  () => {
    withPrebuilds({ [`${here}/wkv.node`]: 'not a library' }, () => {
      cpSync(builtAddon, join(installed, 'build/Release/wkv.node'));
      expect(require()).toEqual({});
      rmSync(join(installed, 'build'), { recursive: true });
    });
  },
);

unless(!existsSync(builtAddon) && 'the addon is not built')(
  'what npm or others call another system in the environment is not taken for this one',
  () => {
    const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
    const name = process.platform === 'linux' ? `wkv.${libc}.node` : 'wkv.node';
    const others = { 'plan9-mips/wkv.node': '', [`plan9-${process.arch}/wkv.node`]: '' };
    withPrebuilds({ ...others, [`${process.platform}-mips/wkv.node`]: '' }, () => {
      mkdirSync(join(installed, 'prebuilds', here));
      cpSync(builtAddon, join(installed, 'prebuilds', here, name));
      const misleading = { npm_config_arch: 'mips', npm_config_platform: 'plan9', LIBC: 'other' };
      expect(require([], { ...environment, ...misleading })).toEqual({});
      const program = `require('wkv');
        console.log(${Object.keys(misleading)
          .map((variable) => `process.env.${variable}`)
          .join(', ')});`;
      const env = { ...environment, ...misleading };
      expect(run(process.execPath, ['-e', program], { cwd: project, env }).output).toBe('mips plan9 other\n');
    });
  },
);

test('A Node that is too old is told so', () => {
  const older = join(project, 'older.js');
  writeFileSync(older, "delete require('node:zlib').crc32;");
  expect(require(['-r', older])).toMatchObject({
    code: 'ERR_WKV_DEVICE',
    message: `wkv needs Node 20.19, 22.13, 24 or later; this is Node ${process.versions.node}`,
  });
});

test('JavaScript that is not in its package any more says that it was bundled', () => {
  const away = join(project, 'node_modules/wkv.away');
  renameSync(installed, away);
  try {
    writeFileSync(join(away, 'package.json'), '{ "name": "an-application" }');
    const { output } = run(process.execPath, ['-e', "require('./node_modules/wkv.away/dist/index.js')"], {
      cwd: project,
    });
    expect(output).toMatch(/ERR_WKV_DEVICE/);
    expect(output).toMatch(/part of a bundle.*--external:wkv/);
  } finally {
    renameSync(away, installed);
    cpSync(join(root, 'package.json'), join(installed, 'package.json'));
  }
});
