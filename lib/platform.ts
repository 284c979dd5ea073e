/** The C library of this process and its version, on Linux: prebuilt binaries differ by it. */
export function cLibrary(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const report: unknown = process.report.getReport();
  const header: unknown = typeof report === 'object' && report !== null ? Reflect.get(report, 'header') : {};
  const glibc: unknown =
    typeof header === 'object' && header !== null ? Reflect.get(header, 'glibcVersionRuntime') : undefined;
  return typeof glibc === 'string' ? `glibc ${glibc}` : 'musl or another C library';
}

/** For example `linux x64 glibc 2.36`. */
export function describePlatform(): string {
  const { platform, arch } = process;
  return [platform, arch, cLibrary()].filter((part) => part !== undefined).join(' ');
}
