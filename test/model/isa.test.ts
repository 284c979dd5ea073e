import { join } from 'node:path';
import { kernels } from '../../lib/index';
import type { RandomModelShape } from '../support/random-model';
import { runChild, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

describe('Whichever instructions compute it', () => {
  const tiny: RandomModelShape = {
    layers: 2,
    embedding: 66,
    headSize: 33,
    feedForward: 101,
    vocabulary: 67,
    type: 'f32',
    seed: 31,
  };

  test.each(['f32', 'f16', 'bf16', 'int8', 'int4'] as const)(
    'a model with %s weights gives the same bits',
    async (weights) => {
      const type = weights === 'int8' || weights === 'int4' ? 'f32' : weights;
      const path = await writeRandomModel(folder, `isa-${weights}`, { ...tiny, type });
      const found: Record<string, string> = {};
      for (const isa of kernels.features().isa) {
        const { code, stdout, stderr } = await runChild(
          join(__dirname, 'child-digest.ts'),
          [path, weights, '60'],
          {
            environment: { WKV_ISA: isa },
          },
        );
        expect({ isa, code, stderr }).toEqual({ isa, code: 0, stderr: '' });
        const result = JSON.parse(stdout) as { isa: string; digest: string };
        found[result.isa] = result.digest;
      }
      expect(Object.keys(found)).toEqual(kernels.features().isa);
      expect(new Set(Object.values(found)).size).toBe(1);
    },
  );
});
