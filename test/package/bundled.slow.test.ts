import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programs, projects, type Project, type Said } from './projects';
import { withoutPrebuild } from './registry';
import { evaluate, root, run, unless, type Outcome } from './support';

const { folder, install } = projects();
let project: Project;

beforeAll(async () => {
  project = await install('source', { type: 'module' });
  writeFileSync(join(project.directory, 'program.js'), programs.esm);
});

interface Bundler {
  name: string;
  /** The bundle's file. */
  file: string;
  /** The options that are written in README.md. */
  external: object;
  /** A program that bundles `entry` as `outfile` with `external`. */
  bundle: (entry: string, outfile: string, external: object) => string;
}

const esbuild: Bundler['bundle'] = (entry, outfile, external) => `
  const options = { bundle: true, platform: 'node', logLevel: 'warning', ...${JSON.stringify(external)} };
  const format = ${JSON.stringify(outfile)}.endsWith('.mjs') ? 'esm' : 'cjs';
  require('esbuild').buildSync({
    ...options, format, entryPoints: [${JSON.stringify(entry)}], outfile: ${JSON.stringify(outfile)},
  });`;

const webpack: Bundler['bundle'] = (entry, outfile, external) => `
  const { basename, dirname } = require('node:path');
  const outfile = ${JSON.stringify(outfile)};
  const output = { path: dirname(outfile), filename: basename(outfile) };
  const options = { target: 'node', mode: 'none', context: ${JSON.stringify(project.directory)} };
  require('webpack')(
    { ...options, entry: ${JSON.stringify(entry)}, output, ...${JSON.stringify(external)} },
    (error, stats) => {
      if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString());
    },
  );`;

const bundlers: Bundler[] = [
  { name: 'esbuild, as CommonJS', file: 'a.cjs', external: { external: ['wkv'] }, bundle: esbuild },
  { name: 'esbuild, as an ES module', file: 'b.mjs', external: { external: ['wkv'] }, bundle: esbuild },
  {
    name: 'webpack',
    file: 'c.cjs',
    external: { externals: { wkv: 'node-commonjs wkv' } },
    bundle: webpack,
  },
];

/** Bundles the program into a directory that has nothing else but, beside it, what npm installed. */
function deploy({ file, bundle }: Bundler, name: string, external: object): Outcome {
  const directory = join(folder, name);
  mkdirSync(directory);
  cpSync(join(project.directory, 'node_modules'), join(directory, 'node_modules'), { recursive: true });
  const outfile = join(directory, 'out', file);
  evaluate(bundle(join(project.directory, 'program.js'), outfile, external), { cwd: root });
  return run(process.execPath, [outfile], { cwd: folder, env: { ...process.env, WKV_PREBUILD: undefined } });
}

describe.each(bundlers)('a program bundled by $name', (bundler) => {
  unless(withoutPrebuild())('works where the package was left out of the bundle', () => {
    const { output } = deploy(bundler, `external-${bundler.file}`, bundler.external);
    const said = JSON.parse(output) as Said;
    expect(said).toEqual(JSON.parse(evaluate(programs.esm, { esm: true })));
  });

  test('says that the package has to be left out, where it was not', () => {
    const { status, output } = deploy(bundler, `whole-${bundler.file}`, {});
    expect(status).toBe(1);
    expect(output).toMatch(/Error\w*: wkv has become part of a bundle, [^\n]*--external:wkv[^\n]*\n/);
    expect(output).toContain("code: 'ERR_WKV_DEVICE'");
  });
});
