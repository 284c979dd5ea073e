import { runChild, temporaryFolder, writeRandomModel } from './support';

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
  const ended = await runChild('child-progress.ts', [mode, path]);
  expect(ended).toEqual({ code: 0, stdout: 'collected', stderr: '' });
});
