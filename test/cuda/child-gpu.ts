// child-gpu.ts FILE load: prints how loading the model on the GPU fails, and what the kernels' features say of it.
// child-gpu.ts FILE choose: prints which GPU each name of a device chooses, or why none.
// child-gpu.ts FILE lose: generates until the GPU is lost, and prints how calls fail from then on.
// child-gpu.ts FILE measure: prints what the model and a state take, what is free beside it, and how many sessions fit.
// child-gpu.ts FILE auto: prints where 'auto' puts the model in int8.
// child-gpu.ts FILE fill: prints how many sessions fit, how the next fails, and whether one does when another is gone.
import { kernels, loadModel, WkvError, type Session } from '../../lib/index';

interface Failure {
  code: string;
  message: string;
}

async function failure(call: () => unknown): Promise<Failure | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (!(error instanceof WkvError)) throw error;
    return { code: error.code, message: error.message };
  }
}

function features(): string {
  const { cuda } = kernels.features();
  return cuda.available ? 'available' : cuda.reason;
}

async function load(path: string): Promise<object> {
  return { failed: await failure(() => loadModel(path, { device: 'cuda' })), features: features() };
}

async function choose(path: string): Promise<object> {
  const { cuda } = kernels.features();
  const chosen: Record<string, unknown> = {
    features: cuda.available && {
      usable: cuda.devices.map(({ device }) => device),
      unusable: cuda.unusable,
    },
  };
  for (const device of ['cuda', 'cuda:0', 'cuda:1', 'cuda:2'] as const) {
    chosen[device] =
      (await failure(async () => {
        const model = await loadModel(path, { device });
        chosen[device] = model.info.device;
        await model.dispose();
      })) ?? chosen[device];
  }
  return chosen;
}

async function lose(path: string): Promise<object> {
  const model = await loadModel(path, { device: 'cuda' });
  const [session, other] = [model.createSession(), model.createSession()];
  await other.evaluate([1]);
  const forever = async (): Promise<never> => {
    for (;;) await session.evaluate([1]);
  };
  const failures = [
    await failure(forever),
    await failure(() => session.evaluate([1])),
    await failure(() => other.evaluate([1])),
    await failure(() => model.createSession().evaluate([1])),
    await failure(() => other.state.values()),
    await failure(() => loadModel(path, { device: 'cuda' })),
  ];
  await model.dispose();
  failures.push(await failure(() => loadModel(path, { device: 'cuda' })));
  const onCpu = await loadModel(path);
  await onCpu.createSession().evaluate([1]);
  await onCpu.dispose();
  return { failures, features: features() };
}

function freeMemory(): number {
  const { cuda } = kernels.features();
  return cuda.available ? cuda.devices[0]!.freeMemory : NaN;
}

async function measure(path: string): Promise<object> {
  const before = freeMemory();
  const { info } = await loadModel(path, { device: 'cuda' });
  const free = freeMemory();
  return { taken: before - free, state: info.stateBytes, free, fitting: info.sessionsThatFit };
}

async function fill(path: string): Promise<object> {
  const model = await loadModel(path, { device: 'cuda' });
  const fitting = model.info.sessionsThatFit!;
  const sessions: Session[] = [];
  for (let i = 0; i < fitting; i++) {
    const session = model.createSession();
    await session.evaluate([i]);
    sessions.push(session);
  }
  const next = model.createSession();
  const failed = await failure(() => next.evaluate([1]));
  sessions.pop()!.dispose();
  const again = await failure(() => next.evaluate([1]));
  await model.dispose();
  return { fitting, failed, again };
}

async function auto(path: string): Promise<object> {
  const { info } = await loadModel(path, { weights: 'int8', maxBatch: 64 });
  return { device: info.device };
}

const modes: Record<string, (path: string) => Promise<object>> = { load, choose, lose, measure, auto, fill };

async function main(path = '', mode = ''): Promise<void> {
  const result = await modes[mode]!(path);
  process.stdout.write(JSON.stringify(result));
}

void main(...process.argv.slice(2));
