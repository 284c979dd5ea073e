import { join } from 'node:path';
import { loadModel } from '../../lib/index';
import { writePth } from '../support/pth-writer';
import { randomModel } from '../support/random-model';
import { unless, withoutMemory } from '../support/unless';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const testMemory = unless(withoutMemory);

interface Grown {
  first: number;
  again: number;
  inWorker: number;
  otherWeights: number;
  weightBytes: number;
}

describe('The weights of a file', () => {
  let grown: Grown;
  beforeAll(async () => {
    const path = await writeRandomModel(folder, 'wide', {
      ...smallShape,
      layers: 1,
      headSize: 64,
      vocabulary: 65_536,
      type: 'bf16',
    });
    const { code, stdout, stderr } = await runChild(join(__dirname, 'child-sharing.ts'), [path]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    grown = JSON.parse(stdout) as Grown;
  });

  // Beside its weights a model takes buffers: some MiB here, well below the 16 MiB of weights.
  testMemory('take memory once when they are loaded', () => {
    expect(grown.first).toBeGreaterThan(0.9 * grown.weightBytes);
  });

  testMemory('take none again when they are loaded twice', () => {
    expect(grown.again).toBeLessThan(0.6 * grown.weightBytes);
  });

  testMemory('take none again in a worker thread', () => {
    // A worker with its own copy of the modules takes memory too: what counts is that it is not twice as much.
    expect(grown.inWorker).toBeLessThan(grown.otherWeights);
  });
});

test('The weights of a compressed file are shared, too', async () => {
  const path = join(folder, 'compressed.pth');
  await writePth(path, randomModel(smallShape), { compression: 'deflated' });
  const first = await loadModel(path);
  const onProgress = jest.fn();
  const second = await loadModel(path, { onProgress });
  expect(onProgress).toHaveBeenCalledTimes(1);
  await first.dispose();
  await second.dispose();
});
