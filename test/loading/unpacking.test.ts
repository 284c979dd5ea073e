import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFiles } from '../formats/support';
import { writePth } from '../support/pth-writer';
import { randomModel } from '../support/random-model';
import { runChild, smallShape, temporaryFolder, withModel } from '../support/model';

const folder = temporaryFolder();

test('A model that is loaded leaves nothing of what was unpacked for it', async () => {
  const path = join(folder, 'small.pth');
  await writePth(path, randomModel(smallShape), { compression: 'deflated' });
  const before = temporaryFiles();
  await withModel(path, {}, () => expect(temporaryFiles()).toEqual(before));
});

test('The directory for temporary files may be named from a working directory that is another one soon', async () => {
  const path = join(folder, 'moved.pth');
  await writePth(path, randomModel(smallShape), { compression: 'deflated' });
  mkdirSync(join(folder, 'relative'));
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-chdir.ts'), [path, folder], {
    environment: { TMPDIR: 'relative', TEMP: 'relative', TMP: 'relative' },
  });
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'loaded', stderr: '' });
  expect(readdirSync(join(folder, 'relative'))).toEqual([]);
});

test('Workers that are terminated leave nothing of what they unpack', async () => {
  const path = join(folder, 'compressed.pth');
  await writePth(path, randomModel({ ...smallShape, vocabulary: 60_000 }), { compression: 'deflated' });
  const place = join(folder, 'temporary');
  mkdirSync(place);
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-unpacking.ts'), [path, place], {
    environment: { TMPDIR: place, TEMP: place, TMP: place },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { begun, left } = JSON.parse(stdout) as { begun: number; left: string[] };
  expect(begun).toBeGreaterThan(0);
  expect(left).toEqual([]);
});
