import { join } from 'node:path';
import { randomTokens } from '../support/random-model';
import { sameBits } from '../support/compare';
import { unless, withoutMemory } from '../support/unless';
import { runChild, smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

/** Its states are of 4 MiB. */
let path: string;
let stateBytes: number;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'deep', {
    ...smallShape,
    layers: 1,
    embedding: 16,
    headSize: 1024,
    heads: 1,
    feedForward: 16,
  });
  await withModel(path, {}, (model) => {
    stateBytes = model.info.stateBytes;
  });
});

const many = 100;

const measured = unless(
  process.platform === 'linux' ? withoutMemory : 'resident memory is not what it is on Linux',
);

measured('Forks that waited for their parent and are disposed keep no state', async () => {
  const { code, stdout, stderr } = await runChild(join(__dirname, 'child-forks.ts'), [path, '40']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(Number(stdout)).toBeLessThan(4 * stateBytes);
});

describe('Sessions that have seen nothing', () => {
  for (const precision of ['f32', 'f16'] as const) {
    measured(`share their numbers: ${many} of them take less than two, as ${precision}`, async () => {
      const { code, stdout, stderr } = await runChild(join(__dirname, 'child-fresh.ts'), [
        path,
        precision,
        String(many),
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      // What else sessions and measuring take is a few hundred KiB.
      expect(Number(stdout)).toBeLessThan(2 * stateBytes);
    });

    test(`are independent of each other, as ${precision}`, async () => {
      await withModel(path, { statePrecision: precision }, async (model) => {
        const tokens = randomTokens(20, smallShape.vocabulary, 1);
        const [one, two, three] = [model.createSession(), model.createSession(), model.createSession()];
        const before = three.state.values();
        const expected = await one.evaluate(tokens);
        expect(sameBits(await two.evaluate(tokens), expected)).toBe(true);
        expect(sameBits(three.state.values(), before)).toBe(true);
        expect(sameBits(await model.createSession().evaluate(tokens), expected)).toBe(true);
      });
    });
  }

  test('have random numbers of their own', async () => {
    await withModel(path, {}, (model) => {
      const seeds = Array.from({ length: 20 }, () => model.createSession().state.serialize().slice(56, 64));
      expect(new Set(seeds.map((seed) => seed.join())).size).toBe(20);
    });
  });
});
