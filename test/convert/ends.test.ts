import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { runChild, temporaryFolder } from '../model/support';
import { writeEmptyModel } from '../support/empty-model';

const folder = temporaryFolder();
const source = join(folder, 'large.safetensors');
beforeAll(() => {
  writeEmptyModel(source, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
});

test('a process that exits in the middle of a conversion leaves nothing', async () => {
  const place = join(folder, 'process');
  mkdirSync(place);
  const ended = await runChild('../convert/child-ends.ts', [source, join(place, 'packed.safetensors')]);
  expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(readdirSync(place)).toEqual([]);
});

test('a worker that is terminated in the middle of a conversion leaves nothing', async () => {
  const place = join(folder, 'worker');
  mkdirSync(place);
  const worker = new Worker(join(__dirname, '../support/run-typescript.js'), {
    argv: [join(__dirname, 'child-ends.ts'), source, join(place, 'packed.safetensors')],
  });
  await once(worker, 'message');
  expect(readdirSync(place)).toEqual([expect.stringMatching(/^wkv-.*\.part$/)]);
  await worker.terminate();
  expect(readdirSync(place)).toEqual([]);
});
