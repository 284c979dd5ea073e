// child-two-models.ts FILE FILE: uses two models alone and together. Prints whether together they gave the same, and (on
// Linux) how many threads the process had with one, two, three and no models.
import { readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { loadModel, type Model } from '../../lib/index';

const lanes = 6;

/**
 * The threads of the process; the least of several looks, because one that ends takes a moment. Where so few are
 * expected, it looks for some seconds until they are.
 */
async function threads(expected = Infinity): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 5 || (i < 500 && least > expected); i++) {
    await setTimeout(10);
    least = Math.min(least, process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0);
  }
  return least;
}

/** Calls of several kinds on several sessions. */
async function use(model: Model): Promise<string> {
  const results = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const session = model.createSession();
      const logits = await session.evaluate(
        Uint32Array.from({ length: 40 * i + 1 }, (_x, j) => (i * j) % 256),
      );
      const { tokens } = await session.complete([], { seed: i, maxTokens: 20 });
      return [...logits, ...tokens, ...(await session.score(tokens))];
    }),
  );
  return results.join();
}

async function main(first = '', second = ''): Promise<void> {
  const counts: number[] = [];
  const models = [await loadModel(first, { threads: lanes })];
  const alone = [await use(models[0]!)];
  counts.push(await threads());
  models.push(await loadModel(second, { threads: lanes }));
  alone.push(await use(models[1]!));
  counts.push(await threads(counts[0]! + 1));
  const together = await Promise.all([use(models[0]!), use(models[1]!), use(models[0]!)]);
  models.push(await loadModel(second, { threads: lanes - 1 }));
  together.push(...(await Promise.all([use(models[2]!), use(models[0]!)])));
  counts.push(await threads(counts[0]! + 2));
  await Promise.all(models.map((model) => model.dispose()));
  counts.push(await threads(counts[0]! - 1));
  const expected = [0, 1, 0, 1, 0].map((i) => alone[i]);
  const same = alone[0] !== alone[1] && together.every((each, i) => each === expected[i]);
  process.stdout.write(JSON.stringify({ same, threads: counts }));
}

void main(...process.argv.slice(2));
