import { existsSync } from 'node:fs';

const archive = /\.asar(?=[\\/])/g;

/**
 * Where a file of an Electron archive (`app.asar`) lies outside of it, in `app.asar.unpacked`; any other path as it
 * is. Electron's JavaScript sees into archives, native code does not.
 */
export function unpacked(path: string): string {
  const twins = [...path.matchAll(archive)].map(({ index }) => {
    const end = index + '.asar'.length;
    return `${path.slice(0, end)}.unpacked${path.slice(end)}`;
  });
  return twins.find((twin) => existsSync(twin)) ?? path;
}

/** What to add to the error about a file that cannot be opened, where that may be because it is in an archive. */
export function archiveHint(path: string): string {
  if (path.search(archive) < 0 || unpacked(path) !== path) return '';
  return '; if it is in an Electron archive, unpack it (asarUnpack or asar.unpack), because native code cannot read inside';
}
