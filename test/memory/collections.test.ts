import { join } from 'node:path';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

/** Its states are of 4 MiB. */
let path: string;
beforeAll(async () => {
  const shape = { layers: 1, embedding: 16, headSize: 1024, heads: 1, feedForward: 16 };
  path = await writeRandomModel(folder, 'deep', { ...smallShape, ...shape });
});

describe('The garbage collector is told of each block of numbers once, and so has nothing to do for', () => {
  test.each([
    ['states of the same session, and its branches', 'holders'],
    ['sessions that have seen nothing', 'fresh'],
    ['branches that go on, and are disposed', 'branches'],
    ['a session whose numbers are copied at every call', 'calls'],
  ])('%s', async (_what, mode) => {
    const { code, stdout, stderr } = await runChild(join(__dirname, 'child-collections.ts'), [mode, path]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    // More than 64 MiB that it did not know of have it begin: each of these would report 400 MiB and more. Once it may
    // have a reason of its own.
    expect(Number(stdout)).toBeLessThanOrEqual(1);
  });
});
