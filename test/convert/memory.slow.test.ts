import { join } from 'node:path';
import { runChild, temporaryFolder } from '../support/model';
import { writeEmptyModel } from '../support/empty-model';

const folder = temporaryFolder();

test('a conversion has only a few matrices in memory', async () => {
  const source = join(folder, 'large.safetensors');
  const shape = { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 };
  writeEmptyModel(source, shape);
  const packed = join(folder, 'packed.safetensors');
  const { code, stdout, stderr } = await runChild(
    join(__dirname, 'child-memory.ts'),
    [source, packed, 'int8'],
    {
      timeout: 300_000,
    },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { bytes, peak } = JSON.parse(stdout) as { bytes: number; peak: number };
  // A byte a number and more: eight layers of five square matrices, one more, and two of embedding * feed-forward.
  expect(bytes).toBeGreaterThan(8 * (6 * 2048 ** 2 + 2 * 2048 * 7168));
  // The largest matrix takes 15 MB. What Node and the addon take is about 100 MB.
  expect(peak).toBeLessThan(220e6);
  expect(bytes).toBeGreaterThan(400e6);
}, 300_000);

test('a conversion to f32 has only a few pieces in memory', async () => {
  const source = join(folder, 'plain.safetensors');
  writeEmptyModel(source, { layers: 3, embedding: 2048, feedForward: 7168, vocabulary: 256 });
  const converted = join(folder, 'converted.safetensors');
  const { code, stdout, stderr } = await runChild(
    join(__dirname, 'child-memory.ts'),
    [source, converted, 'f32'],
    {
      timeout: 300_000,
    },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { bytes, peak } = JSON.parse(stdout) as { bytes: number; peak: number };
  expect(bytes).toBeGreaterThan(4 * 3 * (6 * 2048 ** 2 + 2 * 2048 * 7168));
  // What Node and the addon take is about 100 MB.
  expect(peak).toBeLessThan(160e6);
}, 300_000);
