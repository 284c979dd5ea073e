import { copyFileSync, mkdirSync, renameSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { openTensorDirectory, type TensorDirectory } from '../../lib/formats';
import { native } from '../../lib/native';
import { temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
let path: string;
let directory: TensorDirectory;

beforeAll(async () => {
  // Longer than the 260 characters that Windows takes without further ado, and not in its old code pages.
  const deep = join(folder, 'long'.repeat(30), 'long'.repeat(30));
  mkdirSync(deep, { recursive: true });
  path = await writeRandomModel(deep, 'модель 漢字 😀');
});
// Each test may change the file.
beforeEach(async () => {
  directory = await openTensorDirectory(path);
});

/** Reads the weights of a file whose header was read before. */
async function readWeights(read: TensorDirectory): Promise<string> {
  const options = { threads: 1, maxBatch: 1, packStates: false, onlyShared: false };
  const model = await native.loadModel(read, options, undefined).promise;
  await model?.dispose();
  return 'read';
}

describe('Weights are read of the very file whose header was read:', () => {
  test('one that has not changed', async () => {
    await expect(readWeights(directory)).resolves.toBe('read');
  });

  test.each(['size', 'device', 'inode', 'modifiedNs'] as const)('not one of another %s', async (property) => {
    const file = directory.files[0]!;
    const value = file[property];
    // A time differs by what Windows stores at least.
    const other = { ...file, [property]: typeof value === 'bigint' ? value + 100n : value + 1 };
    const refused = readWeights({ ...directory, files: [other] });
    await expect(refused).rejects.toMatchObject({ code: 'ERR_WKV_FORMAT' });
  });

  test('not one that has taken its place, as large and as old', async () => {
    const { atime, mtime } = statSync(path);
    copyFileSync(path, `${path}.new`);
    utimesSync(`${path}.new`, atime, mtime);
    utimesSync(path, atime, mtime);
    const before = await openTensorDirectory(path);
    renameSync(`${path}.new`, path);
    await expect(readWeights(before)).rejects.toMatchObject({ code: 'ERR_WKV_FORMAT' });
    await expect(readWeights(await openTensorDirectory(path))).resolves.toBe('read');
  });

  test.each([1950, 1990, 2039, 2150])('one from %d', async (year) => {
    const time = new Date(Date.UTC(year, 5, 1, 1, 2, 3, 456));
    utimesSync(path, time, time);
    await expect(readWeights(await openTensorDirectory(path))).resolves.toBe('read');
  });
});
