import { join } from 'node:path';
import { demoModel } from '../../lib/index';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const minutes = 60_000;

async function measure(path: string, mode: 'session' | 'calls' | 'prompt'): Promise<Record<string, number>> {
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-memory.ts'), [path, mode], {
    timeout: 5 * minutes,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, number>;
}

describe('Memory', () => {
  test(
    'of a session on the embedded model is the same within 5 % after 10^4, 10^5 and 10^6 tokens',
    async () => {
      const sizes = Object.values(await measure(demoModel, 'session'));
      expect(sizes).toHaveLength(3);
      expect(Math.max(...sizes) / Math.min(...sizes)).toBeLessThan(1.05);
    },
    6 * minutes,
  );

  test('does not grow with the number of calls', async () => {
    const path = await writeRandomModel(folder, 'tiny', {
      ...smallShape,
      layers: 1,
      embedding: 16,
      feedForward: 16,
    });
    const [early, late] = Object.values(await measure(path, 'calls'));
    // The least that a call could forget is a few hundred bytes of what it allocates; 50,000 times 200 are 10 MB.
    expect(late! - early!).toBeLessThan(50_000 * 200);
  });

  test('for a prompt of 10^6 tokens grows by little more than its token ids', async () => {
    // Small, so that a million tokens take seconds.
    const path = await writeRandomModel(folder, 'small', { ...smallShape, layers: 1, feedForward: 64 });
    const { grown, tokenBytes } = await measure(path, 'prompt');
    // Copies of the ids, in JavaScript and in the engine. A single layer's activations would be 256 MB.
    expect(grown).toBeLessThan(2 * tokenBytes! + 8 * 2 ** 20);
  });
});
