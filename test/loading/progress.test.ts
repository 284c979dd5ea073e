import { AsyncLocalStorage } from 'node:async_hooks';
import { join } from 'node:path';
import { convertModel, loadModel } from '../../lib/index';
import { runChild, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

test.each([
  ['a model that was dropped, and with it the model', 'loaded'],
  ['a model that was disposed', 'disposed'],
  ['a loading that was called off', 'aborted'],
  ['a conversion', 'converted'],
])('A progress callback is let go after %s', async (_what, mode) => {
  const ended = await runChild(join(__dirname, 'child-progress.ts'), [mode, path]);
  expect(ended).toEqual({ code: 0, stdout: 'collected', stderr: '' });
});

test('A progress callback has the AsyncLocalStorage of the call', async () => {
  const storage = new AsyncLocalStorage<string>();
  const seen = new Set<string | undefined>();
  const onProgress = (): void => {
    seen.add(storage.getStore());
  };
  const model = await storage.run('load', () => loadModel(path, { onProgress }));
  const converted = join(folder, 'progress.safetensors');
  await storage.run('convert', () => convertModel(path, converted, { weights: 'int8', onProgress }));
  await model.dispose();
  expect([...seen]).toEqual(['load', 'convert']);
});
