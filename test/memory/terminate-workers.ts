import { join } from 'node:path';
import { runChild } from '../support/model';

const minute = 60_000;

/** Longer than it takes to terminate 200 workers on a busy machine, under AddressSanitizer too. */
export const terminationTimeout = 8 * minute;

/** Terminates so many workers at random moments (see child-terminations.ts) and checks that all is well. */
export async function expectCleanTerminations(path: string, count: number, seed: number): Promise<void> {
  const { code, stdout, stderr } = await runChild(
    join(__dirname, 'child-terminations.ts'),
    [path, String(count), String(seed)],
    { timeout: terminationTimeout - minute },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { reached, same } = JSON.parse(stdout) as { reached: Record<string, number>; same: boolean };
  expect(same).toBe(true);
  // Each of the eleven phases has its share of the workers; about a third of these must have come to it.
  expect(Object.keys(reached)).toHaveLength(11);
  expect(Math.min(...Object.values(reached))).toBeGreaterThanOrEqual(Math.floor(count / 33));
}
