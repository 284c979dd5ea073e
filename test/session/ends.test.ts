import { join } from 'node:path';
import { Tokenizer, loadModel, type Model } from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, rejection, thrown } from '../support/failure';
import { randomTokens } from '../support/random-model';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();
const disposed = { code: 'ERR_WKV_DISPOSED' };
const long = randomTokens(60_000, smallShape.vocabulary, 5);

let path: string;
beforeAll(async () => {
  path = await writeRandomModel(folder, 'small');
});

function load(): Promise<Model> {
  return loadModel(path, { tokenizer: Tokenizer.bytes() });
}

describe('Disposing a session', () => {
  test('any number of times is as good as once', async () => {
    const model = await load();
    const session = model.createSession();
    session.dispose();
    session.dispose();
    expectFailure(await rejection(() => session.evaluate([1])), disposed);
    await model.dispose();
  });

  test('makes every use of it fail with ERR_WKV_DISPOSED', async () => {
    const model = await load();
    const session = model.createSession();
    await session.evaluate([1]);
    session.dispose();
    expectFailure(await rejection(() => session.evaluate([1])), disposed);
    expectFailure(await rejection(() => session.score([1])), disposed);
    expectFailure(
      thrown(() => session.fork()),
      disposed,
    );
    expectFailure(
      thrown(() => session.state),
      disposed,
    );
    const generation = async (): Promise<void> => {
      for await (const part of session.generate('x', { maxTokens: 1 })) {
        expect(part).toBeUndefined();
      }
    };
    expectFailure(await rejection(() => generation()), disposed);
    await model.dispose();
  });

  test('rejects its pending calls and lets other sessions be', async () => {
    const model = await load();
    const [one, two] = [model.createSession(), model.createSession()];
    const calls = [
      rejection(() => one.evaluate(long)),
      rejection(() => one.evaluate([1])),
      rejection(() => one.score([2])),
    ];
    const other = two.evaluate([1, 2, 3]);
    one.dispose();
    for (const error of await Promise.all(calls)) {
      expectFailure(error, disposed);
    }
    await expect(other).resolves.toHaveLength(smallShape.vocabulary);
    await model.dispose();
  });

  test('calls off what the model computes for it', async () => {
    const model = await load();
    const session = model.createSession();
    const call = rejection(() => session.evaluate(new Uint32Array(4_000_000)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    session.dispose();
    expectFailure(await call, disposed);
    expect(model.statistics.tokens).toBeLessThan(2_000_000);
    await model.dispose();
  });

  test('leaves its branches and the states taken from it alive', async () => {
    const model = await load();
    const session = model.createSession();
    const last = await session.evaluate([1, 2, 3]);
    const branch = session.fork();
    const { state } = session;
    session.dispose();
    expect(sameBits(await branch.evaluate([]), last)).toBe(true);
    await expect(branch.evaluate([4])).resolves.toHaveLength(smallShape.vocabulary);
    expect(state.values().some((value) => value !== 0)).toBe(true);
    await model.dispose();
  });
});

describe('Disposing a model', () => {
  test('any number of times, at the same time too, is as good as once', async () => {
    const model = await load();
    await Promise.all([model.dispose(), model.dispose()]);
    await expect(model.dispose()).resolves.toBeUndefined();
  });

  test('rejects pending calls, disposes its sessions, and makes no more', async () => {
    const model = await load();
    const sessions = Array.from({ length: 5 }, () => model.createSession());
    const calls = sessions.map((session) => rejection(() => session.evaluate(long)));
    await model.dispose();
    for (const error of await Promise.all(calls)) {
      expectFailure(error, disposed);
    }
    for (const session of sessions) {
      expectFailure(await rejection(() => session.evaluate([1])), disposed);
      session.dispose();
    }
    expectFailure(
      thrown(() => model.createSession()),
      disposed,
    );
  });

  test('ends a generation that is being iterated', async () => {
    const model = await load();
    const generation = model.createSession().generate('x', { maxTokens: 1000 });
    await generation.next();
    await model.dispose();
    expectFailure(await rejection(() => generation.next()), disposed);
  });

  test('leaves a model of the same file alive', async () => {
    const [one, two] = await Promise.all([load(), load()]);
    await one.dispose();
    await expect(two.createSession().evaluate([1])).resolves.toHaveLength(smallShape.vocabulary);
    await two.dispose();
  });
});

describe('A process', () => {
  test.each([
    ['that leaves a model idle ends by itself', 'idle', 'loaded'],
    ['that leaves a generation between two tokens ends by itself', 'idle-generation', 'paused'],
    ['waits for a pending call', 'pending', 'evaluated'],
    ['waits for a pending generation', 'pending-generation', 'generated 500'],
    ['waits for a model that is being disposed', 'pending-disposal', 'disposed'],
    ['that exits in the middle of an evaluation ends cleanly', 'exit', 'exiting'],
    ['that exits in the turn that an evaluation begins in ends cleanly', 'exit-at-once', 'exiting'],
    ['that exits in the middle of a generation ends cleanly', 'exit-generating', 'exiting'],
    ['that exits while a model loads ends cleanly', 'exit-loading', 'exiting'],
    ['that exits when a model reports its progress ends cleanly', 'exit-progress', 'exiting'],
    ['that drops models and sessions undisposed frees them', 'dropped', 'freed'],
    ['that terminates a worker in the middle of an evaluation goes on', 'terminate', 'terminated 1'],
    ['disposes with using', 'using', 'disposed'],
  ])('%s', async (_what, mode, output) => {
    // Under AddressSanitizer freed memory is kept for a while, to catch its use; here only little of it.
    const environment = { ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8' };
    const ended = await runChild(join(__dirname, 'child-ends.ts'), [mode, path], { environment });
    expect(ended).toEqual({ code: 0, stdout: output, stderr: '' });
  });

  test('whose workers alone use the package goes on when they end', async () => {
    const ended = await runChild(join(__dirname, 'child-unloading.ts'), [path]);
    expect(ended).toEqual({ code: 0, stdout: 'alive alive alive ', stderr: '' });
  });

  test.each([
    ['an exception that nobody catches', 'uncaught', 'Error: nobody catches this'],
    ['a rejection that nobody handles', 'unhandled', 'Error: nobody handles this'],
  ])(
    'that is ended in the middle of a generation by %s reports it and nothing else',
    async (_what, mode, error) => {
      const { code, stdout, stderr } = await runChild(join(__dirname, 'child-ends.ts'), [mode, path]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(error);
      // Node's own report ends with its version; an abort of the native side would come after it, or instead of it.
      expect(stderr.trimEnd()).toMatch(/\nNode\.js v[\d.]+$/);
      expect(stderr).not.toMatch(/terminate called|Sanitizer|Segmentation/);
    },
  );
});
