// child-hostile-states.ts FILE: changes a state of this model in every way that keeps its checksum right, and
// prints how each ended. Whatever is not refused must behave: it is looked at and handed to the model.
import { State, WkvError, loadModel, type Model } from '../../lib/index';
import { xxh64 } from '../support/xxh64';

/** Offsets in docs/state-format.md. */
const fixed = { version: 8, precision: 12, vocabulary: 72, hasLogits: 76, layers: 80, parts: 84 } as const;
const firstPart = 88;
const partBytes = 24;
const counts = firstPart + 3 * partBytes;

function sealed(change: (view: DataView, bytes: Uint8Array) => void, original: Uint8Array): Uint8Array {
  const bytes = original.slice();
  const view = new DataView(bytes.buffer);
  change(view, bytes);
  view.setBigUint64(bytes.length - 8, xxh64(bytes.subarray(0, -8)), true);
  return bytes;
}

/** A whole state of nothing but a header, with parts of these counts. */
function headerOnly(
  original: Uint8Array,
  layers: number,
  partCounts: number[],
  precision: number,
): Uint8Array {
  const bytes = new Uint8Array(firstPart + partBytes * partCounts.length + 4 + 8);
  bytes.set(original.subarray(0, firstPart));
  return sealed((view, copy) => {
    view.setUint32(fixed.precision, precision, true);
    view.setUint32(fixed.hasLogits, 0, true);
    view.setUint32(fixed.layers, layers, true);
    view.setUint32(fixed.parts, partCounts.length, true);
    partCounts.forEach((count, i) => {
      const start = firstPart + partBytes * i;
      copy.set(Buffer.from('wkv'), start);
      view.setUint32(start + 16, count, true);
      view.setUint32(start + 20, count, true);
    });
  }, bytes);
}

function outcome(model: Model, bytes: Uint8Array): string {
  let state: State;
  try {
    state = State.deserialize(bytes);
  } catch (error) {
    return error instanceof WkvError ? error.code : String(error);
  }
  const numbers = state.values().length;
  for (const precision of ['f32', 'f16'] as const) {
    state.serialize({ precision });
  }
  const uses = [
    () => model.createSession({ state }),
    () => model.exportState(state, { layout: 'rwkv.cpp' }),
    () => model.exportState(state, { layout: 'ChatRWKV' }),
  ];
  const outcomes = new Set(uses.map((use) => refusal(use) ?? `usable, ${numbers} numbers`));
  return [...outcomes].join(' and ');
}

function refusal(use: () => unknown): string | undefined {
  try {
    use();
    return undefined;
  } catch (error) {
    return error instanceof WkvError ? `${error.code} of the model` : String(error);
  }
}

async function main(path = ''): Promise<void> {
  const model = await loadModel(path);
  const session = model.createSession();
  await session.evaluate([1, 2, 3]);
  const outcomes: Record<string, string> = {};
  for (const precision of ['f32', 'f16'] as const) {
    const original = session.state.serialize({ precision });
    outcomes[`${precision} unchanged`] = outcome(
      model,
      sealed(() => undefined, original),
    );
    const fields = { ...fixed, counts, 'count of a part': firstPart + 16, 'group of a part': firstPart + 20 };
    for (const [name, offset] of Object.entries(fields)) {
      for (const value of [0, 1, 2, 3, 7, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
        const bytes = sealed((view) => {
          view.setUint32(offset, value, true);
        }, original);
        outcomes[`${precision} with ${name} ${value}`] = outcome(model, bytes);
      }
    }
    for (const value of [NaN, Infinity]) {
      const bytes = sealed((view) => {
        view.setFloat32(counts + 4, value, true); // a number in f32, a scale in f16
      }, original);
      outcomes[`${precision} with a number ${value}`] = outcome(model, bytes);
      const logits = sealed((view) => {
        view.setFloat32(original.length - 8 - 4, value, true);
      }, original);
      outcomes[`${precision} with a logit ${value}`] = outcome(model, logits);
    }
    // Products that are 0, or small, in 64 bits.
    for (const [layers, counts] of [
      [2 ** 30, [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, 4]],
      [2 ** 31, [2 ** 31, 2 ** 31, 2 ** 31, 2 ** 31]],
      [2 ** 32 - 1, [2 ** 32 - 1]],
      [2 ** 32 - 1, [2 ** 32 - 1, 2 ** 32 - 1, 2]],
      [1, [2 ** 32 - 1]],
      [2 ** 32 - 1, [1]],
    ] as const) {
      const bytes = headerOnly(original, layers, [...counts], precision === 'f32' ? 0 : 1);
      outcomes[`${precision} of ${layers} layers of ${counts.join(' + ')}`] = outcome(model, bytes);
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
  await model.dispose();
}

void main(...process.argv.slice(2));
