import { setTimeout as wait } from 'node:timers/promises';
import { receive, tokensPerSecond, type Result } from '../../lib/cli/generation';
import type { GeneratedPart } from '../../lib/index';

/** What is received of these parts, which come at least so many milliseconds apart. */
async function received(parts: readonly GeneratedPart[], apart = 0): Promise<Result> {
  async function* generation(): AsyncGenerator<GeneratedPart> {
    for (const part of parts) {
      await wait(apart);
      yield part;
    }
  }
  return await receive(generation(), new AbortController().signal, () => Promise.resolve());
}

const ofTokens = (count: number): GeneratedPart => ({ text: 'a', tokens: new Array<number>(count).fill(97) });

describe('Tokens a second', () => {
  test.each([
    ['one', [ofTokens(1)]],
    ['many', [ofTokens(200)]],
    ['none before and after', [ofTokens(0), ofTokens(200), ofTokens(0)]],
    ['none at all', [ofTokens(0)]],
  ])('are not known where all came in one part (%s)', async (_which, parts) => {
    expect(tokensPerSecond(await received(parts))).toBeNull();
  });

  test.each([0, 1, 200])('do not count those that came first (%i)', async (first) => {
    // A token comes each 50 ms; timers may be a little early.
    const speed = tokensPerSecond(await received([ofTokens(first), ofTokens(1), ofTokens(1)], 50));
    expect(speed).toBeGreaterThan(0);
    expect(speed).toBeLessThan(25);
  });
});

describe('Usage', () => {
  test('is what the last part says, tokens of a stop string included', async () => {
    const usage = { promptTokens: 3, completionTokens: 7 };
    const last: GeneratedPart = { text: '', tokens: [], finishReason: 'stop', usage };
    expect(await received([ofTokens(2), ofTokens(3), last])).toMatchObject({ finishReason: 'stop', usage });
  });

  test('of what is interrupted has the tokens that came', async () => {
    expect(await received([ofTokens(2), ofTokens(3)])).toMatchObject({
      finishReason: 'interrupted',
      usage: { promptTokens: 0, completionTokens: 5 },
    });
  });
});
