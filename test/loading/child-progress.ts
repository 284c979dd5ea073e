// child-progress.ts MODE FILE: loads or converts a model with a callback for its progress, lets everything go, and
// prints whether what the callback closed over was collected.
import { setTimeout } from 'node:timers/promises';
import { convertModel, loadModel, type Model } from '../../lib/index';

/** Where each of these jobs has come to its end, the scope of its callback. */
const modes: Record<string, (path: string) => Promise<WeakRef<object>>> = {
  async loaded(path) {
    const scope: { model?: Model } = {};
    scope.model = await loadModel(path, { onProgress: () => scope.model?.info });
    return new WeakRef(scope);
  },

  async disposed(path) {
    const scope = {};
    const model = await loadModel(path, { onProgress: () => scope });
    await model.dispose();
    return new WeakRef(scope);
  },

  async aborted(path) {
    const controller = new AbortController();
    const scope = {};
    const onProgress = (): void => {
      controller.abort(scope);
    };
    await loadModel(path, { onProgress, signal: controller.signal }).catch(() => undefined);
    return new WeakRef(scope);
  },

  async converted(path) {
    const scope = {};
    await convertModel(path, `${path}-packed.safetensors`, { weights: 'int8', onProgress: () => scope });
    return new WeakRef(scope);
  },
};

async function main(mode = '', path = ''): Promise<void> {
  const scope = await modes[mode]?.(path);
  // The thread that did the job may take a moment to let go of it.
  for (let i = 0; i < 500 && scope?.deref() !== undefined; i++) {
    await setTimeout(10);
    global.gc?.();
  }
  process.stdout.write(scope?.deref() === undefined ? 'collected' : 'kept');
}

void main(...process.argv.slice(2));
