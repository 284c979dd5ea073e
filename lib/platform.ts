/** The version of the GNU C library that this process has; undefined with another one. */
function glibcVersion(): string | undefined {
  const report: unknown = process.report.getReport();
  const header: unknown = typeof report === 'object' && report !== null ? Reflect.get(report, 'header') : {};
  const glibc: unknown =
    typeof header === 'object' && header !== null ? Reflect.get(header, 'glibcVersionRuntime') : undefined;
  return typeof glibc === 'string' ? glibc : undefined;
}

export const hasGlibc = (): boolean => glibcVersion() !== undefined;

/** The C library of this process and its version, on Linux: prebuilt binaries differ by it. */
export function cLibrary(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const glibc = glibcVersion();
  return glibc === undefined ? 'musl or another C library' : `glibc ${glibc}`;
}

/** For example `linux x64 glibc 2.36`. */
export function describePlatform(): string {
  const { platform, arch } = process;
  return [platform, arch, cLibrary()].filter((part) => part !== undefined).join(' ');
}

const standIns = { electron: 'Electron', bun: 'Bun', deno: 'Deno' };

/** What runs this: `Node 22.23.3`, or what stands in for it, as `Bun 1.4.5 (Node 26.3.0)`. */
export function describeRuntime(versions: NodeJS.Dict<string> = process.versions): string {
  const node = `Node ${versions['node'] ?? 'of an unknown version'}`;
  for (const [key, name] of Object.entries(standIns)) {
    const version = versions[key];
    if (version !== undefined) return `${name} ${version} (${node})`;
  }
  return node;
}
