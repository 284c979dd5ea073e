import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type load from 'node-gyp-build';
import { hasGlibc } from './platform';

/**
 * node-gyp-build, which finds the binary for this system. It is loaded at first use, as it reads files when it begins,
 * which Node may not allow. Tools that trace files see its name.
 *
 * It believes what npm is told of the system that it installs for (which may be another than this one), and that every
 * Linux but Alpine has glibc. So it does not see these variables, and LIBC says what is found here, unless it was set
 * to one of its values.
 */
export function gypBuild(): typeof load {
  const { npm_config_arch: arch, npm_config_platform: platform, LIBC: named } = process.env;
  set({ npm_config_arch: undefined, npm_config_platform: undefined, LIBC: libc(named) });
  try {
    return createRequire(__filename)(require.resolve('node-gyp-build')) as typeof load;
  } finally {
    set({ npm_config_arch: arch, npm_config_platform: platform, LIBC: named });
  }
}

function set(variables: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
  }
}

/** Which C library to look for; undefined leaves it to node-gyp-build. */
function libc(named: string | undefined): string | undefined {
  if (named === 'glibc' || named === 'musl') return named;
  const processor = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
  // Systems with glibc may have musl's loader beside their own.
  return mayBeThere(`/lib/ld-musl-${processor}.so.1`) && !hasGlibc() ? 'musl' : undefined;
}

/** With Node's permission model, even asking may be forbidden. */
function mayBeThere(path: string): boolean {
  try {
    return existsSync(path);
  } catch {
    return true;
  }
}
