import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { runChild, temporaryFolder } from '../support/model';
import { writeEmptyModel } from '../support/empty-model';

const folder = temporaryFolder();
const source = join(folder, 'large.safetensors');
beforeAll(() => {
  writeEmptyModel(source, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
});

/**
 * Begins and ends a conversion in a folder, where nothing may be left. Where that came after its end, as the file is there,
 * it is tried again.
 */
async function expectNothingLeft(name: string, convert: (place: string) => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 10; tries++) {
    const place = join(folder, `${name}-${tries}`);
    mkdirSync(place);
    await convert(place);
    const left = readdirSync(place);
    if (left.join() !== 'packed.safetensors') {
      expect(left).toEqual([]);
      return;
    }
    rmSync(place, { recursive: true });
  }
  throw new Error('every conversion came to its end');
}

test('a process that exits in the middle of a conversion leaves nothing', async () => {
  await expectNothingLeft('process', async (place) => {
    const ended = await runChild(join(__dirname, 'child-ends.ts'), [
      source,
      join(place, 'packed.safetensors'),
    ]);
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

test('a worker that is terminated in the middle of a conversion leaves nothing', async () => {
  await expectNothingLeft('worker', async (place) => {
    const worker = new Worker(join(__dirname, '../support/run-typescript.js'), {
      argv: [join(__dirname, 'child-ends.ts'), source, join(place, 'packed.safetensors')],
    });
    await once(worker, 'message');
    expect(readdirSync(place)).toEqual([expect.stringMatching(/^(wkv-.*\.part|packed\.safetensors)$/)]);
    await worker.terminate();
  });
});
