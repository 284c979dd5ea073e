import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { root, run, type Outcome } from './support';

/** A package as `npm pack` made it. */
export interface Packed {
  readonly name: string;
  readonly version: string;
  /** The tarball, in the folder that it was packed into. */
  readonly filename: string;
  readonly integrity: string;
  readonly shasum: string;
  readonly unpackedSize: number;
  readonly files: readonly { path: string; size: number }[];
}

/** npm without this machine's settings: an empty home and cache, no proxy, and `registry` for everything. */
export function npmEnvironment(home: string, registry: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm|wkv)_|proxy$/i.test(name));
  return {
    ...Object.fromEntries(kept),
    HOME: home,
    USERPROFILE: home,
    npm_config_cache: join(home, 'cache'),
    npm_config_globalconfig: join(home, 'global-npmrc'),
    npm_config_userconfig: join(home, 'npmrc'),
    npm_config_registry: registry,
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  };
}

/** Packs packages, of which only the directories are given, into `folder`. Nothing is fetched, no script runs. */
export function pack(directories: readonly string[], folder: string): Packed[] {
  const env = { ...npmEnvironment(folder, 'http://127.0.0.1:9'), npm_config_loglevel: 'silent' };
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder, ...directories];
  const { status, output } = run('npm', args, { env });
  if (status !== 0) throw new Error(output);
  return JSON.parse(output) as Packed[];
}

/** The directories of what the package depends on when it runs, directly or not. */
function runtimeDependencies(folder: string): string[] {
  const env = npmEnvironment(folder, 'http://127.0.0.1:9');
  const { status, output } = run('npm', ['ls', '--omit=dev', '--all', '--parseable'], { env });
  if (status !== 0) throw new Error(output);
  return output.trim().split('\n').slice(1);
}

/** A registry on this machine that has the package's runtime dependencies and nothing else. */
export class Registry {
  private readonly answers = new Map<string, () => Buffer | string>();
  private readonly server = createServer(({ url = '' }, response) => {
    this.requests.push(url);
    const answer = this.answers.get(decodeURIComponent(url));
    if (answer === undefined) response.writeHead(404);
    response.end(answer?.());
  });

  private constructor(private readonly requests: string[]) {}

  /** Packs what is served into `folder`; every path that is asked for goes to the end of `requests`. */
  static async start(folder: string, requests: string[]): Promise<Registry> {
    const registry = new Registry(requests);
    await new Promise<void>((listening) => registry.server.listen(0, '127.0.0.1', listening));
    const directories = runtimeDependencies(folder);
    pack(directories, folder).forEach((packed, i) => registry.serve(packed, directories[i] ?? '', folder));
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  close(): Promise<void> {
    return new Promise((closed) => this.server.close(() => closed()));
  }

  private serve(
    { name, version, filename, integrity, shasum }: Packed,
    source: string,
    folder: string,
  ): void {
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as object;
    const path = `/${name}/-/${basename(filename)}`;
    this.answers.set(path, () => readFileSync(join(folder, filename)));
    const dist = { tarball: new URL(path, this.url), integrity, shasum };
    const packument = {
      name,
      'dist-tags': { latest: version },
      versions: { [version]: { ...manifest, dist } },
    };
    this.answers.set(`/${name}`, () => JSON.stringify(packument));
  }
}

/** Throws what a program wrote where it failed. */
export function succeeded({ status, output }: Outcome): string {
  if (status !== 0) throw new Error(output);
  return output;
}

/** Whether this checkout has a prebuilt binary that this system can load; else why tests of it have to wait. */
export function withoutPrebuild(): string | false {
  const program = "require('node-gyp-build').resolve(process.cwd())";
  const env = { ...process.env, PREBUILDS_ONLY: '1', WKV_PREBUILD: undefined };
  const found = run(process.execPath, ['-e', program], { cwd: root, env }).status === 0;
  return !found && 'there is no prebuilt binary for this system (npm run prebuild makes one)';
}
