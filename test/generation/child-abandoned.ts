// child-abandoned.ts: drops the iterator of a generation without ending it, and prints what becomes of its session, and
// of a part that is still waited for.
import { setTimeout } from 'node:timers/promises';
import { demoModel, loadModel, type Session } from '../../lib/index';

/** Iterates twice and lets go. In a function of its own, so that nothing of it is left on the stack. */
async function beginAndDrop(session: Session): Promise<number[]> {
  const parts = session.generate('Once', { seed: 1, maxTokens: 1000 });
  const tokens: number[] = [];
  for (let i = 0; i < 2; i++) {
    const { value } = await parts.next();
    if (value !== undefined) tokens.push(...value.tokens);
  }
  return tokens;
}

const isBusy = (session: Session): Promise<boolean> =>
  session.evaluate([]).then(
    () => false,
    (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ERR_WKV_BUSY',
  );

/** The first part of a generation whose iterator nobody holds, collected while its mask is waited for. */
async function partWaitedFor(session: Session): Promise<boolean> {
  const tokenMask = async (): Promise<undefined> => {
    for (let i = 0; i < 5; i++) {
      global.gc?.();
      await setTimeout(10);
    }
  };
  const { value } = await session.generate('Once', { tokenMask }).next();
  return value?.tokens.length === 1;
}

async function main(): Promise<void> {
  const model = await loadModel(demoModel);
  const session = model.createSession();
  const tokens = await beginAndDrop(session);
  const before = await isBusy(session);
  for (let i = 0; i < 100 && (await isBusy(session)); i++) {
    global.gc?.();
    await setTimeout(10);
  }
  const after = await isBusy(session);
  const fresh = model.createSession();
  await fresh.evaluate([...Buffer.from('Once'), ...tokens]);
  const same = session.state.values().join() === fresh.state.values().join();
  const came = await partWaitedFor(model.createSession());
  process.stdout.write(JSON.stringify({ before, after, same, came }));
  await model.dispose();
}

void main();
