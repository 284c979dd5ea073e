import { copyFileSync, mkdirSync, renameSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { demoModel } from '../../lib/index';
import { openTensorDirectory, type TensorDirectory } from '../../lib/formats';
import { native } from '../../lib/native';
import { decodeFloats, encodeFloats } from '../support/float16';
import { randomModel } from '../support/random-model';
import { unless, withoutDemoModel } from '../support/unless';
import { smallShape, temporaryFolder, withModel, writeRandomModel, writeTensors } from '../support/model';

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

describe('The fingerprint', () => {
  // States that were saved, and files that were packed, with any release so far are taken only where it is still this.
  unless(withoutDemoModel)('of the embedded model stays what it has always been', async () => {
    await withModel(demoModel, {}, ({ info }) => {
      expect(info.fingerprint).toBe('56808d75e9713eee624caf96bce35f65');
    });
  });

  test('is another where the same bits are numbers of another type', async () => {
    const tensors = randomModel({ ...smallShape, type: 'f16' });
    const others = tensors.map((tensor) => ({
      ...tensor,
      type: 'bf16' as const,
      data: Float32Array.from(decodeFloats('bf16', encodeFloats('f16', tensor.data))),
    }));
    const fingerprints = new Set<string>();
    for (const [name, stored] of Object.entries({ f16: tensors, bf16: others })) {
      await withModel(await writeTensors(folder, name, 'safetensors', stored), {}, ({ info }) => {
        fingerprints.add(info.fingerprint);
      });
    }
    expect(fingerprints.size).toBe(2);
  });
});
