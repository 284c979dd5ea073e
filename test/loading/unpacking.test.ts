import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writePth } from '../support/pth-writer';
import { randomModel } from '../support/random-model';
import { runChild, smallShape, temporaryFolder } from '../support/model';

const folder = temporaryFolder();

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
