import { join } from 'node:path';
import { unless } from '../support/unless';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

const onLinux = unless(process.platform !== 'linux' && 'only Linux says what threads there are');

onLinux('States that are saved and read at once take a few threads, however many they are', async () => {
  // States of 1 MiB: threads that had one each would all be there at the same time.
  const shape = { layers: 1, embedding: 16, headSize: 512, heads: 1, feedForward: 16 };
  const path = await writeRandomModel(folder, 'deep', { ...smallShape, ...shape });
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-background.ts'), [path, '40']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { more, right } = JSON.parse(stdout) as { more: number; right: number };
  expect(more).toBeGreaterThanOrEqual(1);
  // Four at a time; under load some that have ended are still listed while the next begin.
  expect(more).toBeLessThanOrEqual(8);
  expect(right).toBe(80);
});
