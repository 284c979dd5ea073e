import { largestDifference } from '../support/compare';
import { describeWithFixtures, fixturePath, readExpected } from '../support/fixtures';
import { allLogits, indexOfLargest, row, withModel } from '../support/model';

/** Another order of summation than the plain float32 evaluation that measured the deviation: a few times that. */
const timesDeviation = 5;

const eagle = [
  ['v5.2', 'fp32', 'tiny.fp32.pth'],
  ['v5.2', 'fp16', 'tiny.fp16.safetensors'],
  ['v5.2', 'bf16', 'tiny.bf16.pth'],
  ['v5.2', 'bf16', 'tiny.bf16.legacy.pth'],
  ['v5.2', 'bf16', 'tiny.bf16.safetensors'],
  ['v5.2', 'bf16', 'hf-bf16'],
] as const;

const files = [
  ['v4', 'bf16', 'tiny.bf16.pth'],
  ['v4', 'bf16', 'tiny.bf16.safetensors'],
  ['v4', 'fp16', 'tiny.fp16.pth'],
  ['v4', 'fp16', 'hf-fp16'],
  ['v5.0', 'bf16', 'tiny.bf16.pth'],
  ['v5.0', 'fp16', 'tiny.fp16.safetensors'],
  ...eagle,
] as const;

const dimensions = {
  v4: { architecture: 'rwkv4', version: '4', layers: 4, embedding: 128, feedForward: 256 },
  'v5.0': { architecture: 'rwkv5', version: '5.0', layers: 12, embedding: 64, heads: 8, headSize: 8 },
  'v5.2': { architecture: 'rwkv5', version: '5.2', layers: 12, embedding: 64, heads: 8, headSize: 8 },
} as const;

describeWithFixtures('A trained model (trained by others, computed by others in float64)', () => {
  describe.each(files)('%s, %s from %s', (version, type, file) => {
    const path = fixturePath(version, file);
    /** Kept as the file has them. */
    const weights = ({ fp32: 'f32', fp16: 'f16', bf16: 'bf16' } as const)[type];

    test.each(['A', 'B'])(
      'gives the expected logits at every position, and the state, of prompt %s',
      async (prompt) => {
        const { tokens, logits, vocabulary, state, logitsDeviation, stateDeviation } = readExpected(
          version,
          type,
          prompt,
        );
        await withModel(path, { weights }, async (model) => {
          expect(model.info).toMatchObject({ ...dimensions[version], vocabulary: 256 });
          const session = model.createSession();
          const found = await allLogits(session, tokens);
          expect(found).toHaveLength(logits.length);
          tokens.forEach((_, i) => {
            const difference = largestDifference(row(found, i, vocabulary), row(logits, i, vocabulary));
            expect(difference).toBeLessThanOrEqual(timesDeviation * logitsDeviation);
          });
          const difference = largestDifference(session.state.values(), state);
          expect(difference).toBeLessThanOrEqual(timesDeviation * stateDeviation);
        });
      },
    );

    test.each(['A', 'B'])('continues prompt %s with the expected 64 most probable tokens', async (prompt) => {
      const { tokens, greedy } = readExpected(version, type, prompt);
      await withModel(path, { weights }, async (model) => {
        const session = model.createSession();
        let last = await session.evaluate(tokens);
        const found: number[] = [];
        while (found.length < greedy.length) {
          found.push(indexOfLargest(last));
          last = await session.evaluate(found.slice(-1));
        }
        expect(found).toEqual(greedy);
      });
    });
  });

  test('shares fingerprint and states with the same weights in another container', async () => {
    const bf16 = eagle.filter(([, type]) => type === 'bf16').map(([, , file]) => fixturePath('v5.2', file));
    const fingerprints = await Promise.all(
      bf16.map((path) => withModel(path, {}, (model) => model.info.fingerprint)),
    );
    expect(new Set(fingerprints).size).toBe(1);
    const other = await withModel(
      fixturePath('v5.2', 'tiny.fp32.pth'),
      {},
      (model) => model.info.fingerprint,
    );
    expect(fingerprints).not.toContain(other);
  });
});
