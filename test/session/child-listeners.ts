// child-listeners.ts MODE FILE: gives one signal to a thousand calls (or to 30 loads at once) and says how many listeners it has at the end.
// Node warns on standard error where it thinks that listeners pile up.
import { getEventListeners } from 'node:events';
import { Tokenizer, loadModel, type Model } from '../../lib/index';

const thousand = Array.from({ length: 1000 }, (_, i) => i);

const modes: Record<string, (model: Model, signal: AbortSignal, path: string) => Promise<unknown>> = {
  queued(model, signal) {
    const session = model.createSession();
    return Promise.all(
      thousand.map((i) =>
        i % 3 === 0
          ? session.complete([i % 256], { signal, maxTokens: 1 })
          : i % 3 === 1
            ? session.score([i % 256], { signal })
            : session.evaluate([i % 256], { signal, logits: 'none' }),
      ),
    );
  },

  together: (model, signal) =>
    Promise.all(
      thousand.map(async (i) => {
        const session = model.createSession();
        await session.evaluate([i % 256], { signal });
        for await (const part of session.generate([], { signal, maxTokens: 2 })) {
          if (part.finishReason !== undefined) return;
        }
      }),
    ),

  async following(model, signal) {
    const session = model.createSession();
    for (const i of thousand) await session.evaluate([i % 256], { signal, logits: 'none' });
  },

  async loads(_model, signal, path) {
    const models = await Promise.all(
      thousand.slice(0, 30).map(() => loadModel(path, { signal, threads: 1 })),
    );
    await Promise.all(models.map((each) => each.dispose()));
  },
};

async function main(mode = '', path = ''): Promise<void> {
  const model = await loadModel(path, { tokenizer: Tokenizer.bytes() });
  const { signal } = new AbortController();
  await modes[mode]?.(model, signal, path);
  const listeners = getEventListeners(signal, 'abort').length;
  process.stdout.write(listeners === 0 ? 'no listeners' : `${listeners} listeners`);
}

void main(...process.argv.slice(2));
