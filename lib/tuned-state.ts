import { WkvError } from './errors';
import { modelPath, openTensorDirectory, type StoredTensor, type TensorDirectory } from './formats';
import { shapeText } from './formats/layout';
import { transposed } from './formats/views';
import { fromNative, native } from './native';
import { abortSignal, checkOptions, oneOf } from './options';
import { layerNumbers, type StateDimensions } from './state-layouts';
import { quoted } from './quoted';

export interface TunedStateOptions {
  /**
   * How each head's matrix lies in the file: 'BlinkDL' [value][key], as RWKV-LM and RWKV-PEFT write it, or 'web-rwkv'
   * [key][value], as its converter does. By default 'web-rwkv' for files called `.st` or `.state`, else 'BlinkDL'.
   */
  layout?: 'BlinkDL' | 'web-rwkv' | undefined;
  /** Ends the reading; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** The numbers of a tuned state, in the order of `State.values()`: what the file does not have is zero. */
export async function readTunedState(
  path: string | URL,
  dimensions: StateDimensions,
  options: unknown,
): Promise<Float32Array> {
  const { layout, signal } = checkOptions<TunedStateOptions>(options, {
    layout: oneOf('BlinkDL', 'web-rwkv'),
    signal: abortSignal,
  });
  if (dimensions.architecture === 'rwkv4') {
    throw new WkvError('ERR_WKV_UNSUPPORTED', 'states of RWKV-4 are not tuned');
  }
  const name = modelPath(path);
  const directory = await openTensorDirectory(name, { signal });
  try {
    const layers = findLayers(directory, dimensions, name);
    const isValueFirst = (layout ?? (/\.(?:st|state)$/i.test(name) ? 'web-rwkv' : 'BlinkDL')) === 'BlinkDL';
    const isWanted = isValueFirst === (dimensions.architecture === 'rwkv7');
    const tensors = isWanted ? layers : layers.map(transposed);
    const numbers = await native.readElements({ ...directory, tensors });
    signal?.throwIfAborted();
    return intoStates(numbers, dimensions);
  } catch (error) {
    throw fromNative(error, { path: name });
  } finally {
    await directory.close();
  }
}

/** The tensor of each layer, if the file has just these, with the shape of the model's recurrence. */
function findLayers(
  { tensors, ownName = (name) => name }: TensorDirectory,
  { layers, heads, headSize }: StateDimensions,
  path: string,
): StoredTensor[] {
  const byLayer = new Map<number, StoredTensor>();
  for (const tensor of tensors) {
    const [, layer] = /^blocks\.(\d+)\.att\.time_state$/.exec(tensor.name) ?? [];
    if (layer === undefined || tensor.type === 'packed') {
      const own = ownName(tensor.name);
      throw new WkvError('ERR_WKV_STATE', `${path}: is no tuned state: it holds ${quoted(own)}`, {
        ...{ path, tensor: own, expected: 'blocks.0.att.time_state and so on', found: own },
      });
    }
    const expected = [heads, headSize, headSize];
    const { shape, name } = tensor;
    if (shape.length !== 3 || expected.some((size, axis) => size !== shape[axis])) {
      throw new WkvError(
        'ERR_WKV_SHAPE',
        `${path}: the tensor ${name} does not have the shape of this model's state`,
        {
          ...{ path, tensor: name, expected: shapeText(expected), found: shapeText(shape) },
        },
      );
    }
    byLayer.set(Number(layer), tensor);
  }
  const found = Array.from({ length: layers }, (_, layer) => byLayer.get(layer));
  const missing = found.findIndex((tensor) => tensor === undefined);
  if (missing >= 0 || tensors.length !== layers) {
    throw new WkvError('ERR_WKV_STATE', `${path}: is a tuned state of a model with other layers`, {
      ...{ path, expected: `layers 0 to ${layers - 1}` },
      found: missing >= 0 ? `none of layer ${missing}` : `${tensors.length} layers`,
    });
  }
  return found.filter((tensor) => tensor !== undefined);
}

function intoStates(numbers: Float32Array, dimensions: StateDimensions): Float32Array {
  const { layers, embedding } = dimensions;
  const size = layerNumbers(dimensions);
  const recurrence = size - 2 * embedding;
  const values = new Float32Array(layers * size);
  for (let layer = 0; layer < layers; layer++) {
    const part = numbers.subarray(layer * recurrence, (layer + 1) * recurrence);
    values.set(part, layer * size + 2 * embedding);
  }
  return values;
}
