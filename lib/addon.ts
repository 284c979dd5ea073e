import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import * as zlib from 'node:zlib';
import type load from 'node-gyp-build';
import { bundledError } from './bundled';
import { WkvError } from './errors';
import { gypBuild } from './gyp-build';
import { describePlatform, describeRuntime } from './platform';
import { archiveHint, unpacked } from './unpacked';
import { errorCode, messageOf } from './thrown';

const packageRoot = join(__dirname, '..');

/**
 * Where the addon is: compiled here, or prebuilt for this platform.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where there is none, with what to do about it
 */
export function addonPath(): string {
  return findAddon().path;
}

/**
 * The addon.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where there is none or it does not load, with what to do about it
 */
export function loadAddon(): unknown {
  requireNode();
  const { build, root, path } = findAddon();
  try {
    return build(root);
  } catch (cause) {
    if (errorCode(cause) === 'ERR_DLOPEN_DISABLED') throw permissionError(cause);
    throw new WkvError(
      'ERR_WKV_DEVICE',
      `the binary of wkv does not load here (${describeHost()}): ${oneLine(cause)}. The file is ${path}: if it is ` +
        `damaged, install wkv again; if it was made for a newer or another system, you can ${compileAdvice()}`,
      { path, cause },
    );
  }
}

/** npm only warns of a Node that is too old, and what it lacks would be missed in the middle of something. */
function requireNode(): void {
  if ('crc32' in zlib) return;
  throw new WkvError(
    'ERR_WKV_DEVICE',
    `wkv needs Node 20.19, 22.13, 24 or later; this is ${describeRuntime()}`,
  );
}

function findGypBuild(): typeof load {
  try {
    return gypBuild();
  } catch (cause) {
    throw errorCode(cause) === 'ERR_ACCESS_DENIED' ? permissionError(cause) : cause;
  }
}

function findAddon(): { build: typeof load; root: string; path: string } {
  if (!isPackage(packageRoot)) throw bundledError();
  const folder = join(packageRoot, 'prebuilds');
  const root = dirname(unpacked(folder));
  const build = findGypBuild();
  try {
    return { build, root, path: build.resolve(root) };
  } catch (cause) {
    if (errorCode(cause) === 'ERR_ACCESS_DENIED') throw permissionError(cause);
    const chosen = process.env['WKV_PREBUILD'];
    const place = chosen ?? root;
    const todo =
      chosen === undefined
        ? `You can ${compileAdvice()}${archiveHint(folder)}`
        : 'Unset WKV_PREBUILD to use its own';
    throw new WkvError(
      'ERR_WKV_DEVICE',
      `wkv has no binary for this system (${describeHost()}): in ${place} there is ` +
        `${prebuilds(place).join(', ') || 'none at all'}. ${todo}`,
      { cause },
    );
  }
}

function permissionError(cause: unknown): WkvError {
  // Where node-gyp-build is as well.
  const folder = dirname(packageRoot);
  const packages = basename(folder) === 'node_modules' ? folder : packageRoot;
  return new WkvError(
    'ERR_WKV_DEVICE',
    `Node was started without a permission that wkv needs (${oneLine(cause).replace(/\.+$/, '')}): give it ` +
      `--allow-addons, and --allow-fs-read for ${packages}, /etc/alpine-release and the models`,
    { cause },
  );
}

/** Whether a directory is that of the package: elsewhere, this code has become part of a bundle. */
function isPackage(directory: string): boolean {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    return typeof manifest === 'object' && manifest !== null && Reflect.get(manifest, 'name') === 'wkv';
  } catch {
    return false;
  }
}

/** The platforms that there are prebuilt binaries for, and their C libraries, as `linux-x64 (glibc)`. */
function prebuilds(directory: string): string[] {
  const list = (path: string): string[] => {
    try {
      return readdirSync(path).sort();
    } catch {
      return [];
    }
  };
  const folder = join(directory, 'prebuilds');
  return list(folder).flatMap((platform) =>
    list(join(folder, platform))
      .filter((file) => file.endsWith('.node'))
      .map((file) => {
        const libc = /\.(glibc|musl)\./.exec(file)?.[1];
        return libc === undefined ? platform : `${platform} (${libc})`;
      }),
  );
}

const describeHost = (): string => `${describePlatform()}, ${describeRuntime()}`;

function compileAdvice(): string {
  const [needed, downloads] =
    process.platform === 'win32'
      ? ["Visual Studio's C++ build tools and Python 3", "Node's headers"]
      : ['a C++20 compiler, make and Python 3', 'nothing'];
  const command = `npm --prefix ${JSON.stringify(packageRoot)} run compile`;
  return `compile one: ${command} (it needs ${needed}, and downloads ${downloads})`;
}

function oneLine(error: unknown): string {
  return messageOf(error)
    .trim()
    .replace(/\s*\n\s*/g, ', ');
}
