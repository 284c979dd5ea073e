import { isFloat32Array } from 'node:util/types';
import { WkvError } from './errors';
import { shapeText } from './formats/layout';
import { elementsOf } from './formats/views';
import { checkOptions, lengthOf, oneOf, wrongType, type Checks } from './options';
import {
  chatRwkvShapes,
  fromLayout,
  layerNumbers,
  stateLayouts,
  toLayout,
  type StateDimensions,
  type StateLayout,
} from './state-layouts';

/** A tensor of a state, as ChatRWKV keeps it: its elements in order, the last dimension first. */
export interface StateTensor {
  shape: readonly number[];
  data: Float32Array;
}

export interface StateLayoutOptions {
  /** The program whose layout it is; docs/state-format.md describes them. */
  layout: StateLayout;
}

/** The numbers of a state in another program's layout. */
export function exportValues(
  values: Float32Array,
  dimensions: StateDimensions,
  options: unknown,
): Float32Array | StateTensor[] {
  const layout = checkLayout(options, dimensions);
  const numbers = toLayout(values, dimensions, layout);
  if (layout !== 'ChatRWKV') return numbers;
  let begin = 0;
  return chatRwkvShapes(dimensions).map((shape) => {
    const first = begin;
    begin += elementsOf({ shape });
    return { shape, data: numbers.slice(first, begin) };
  });
}

/** The numbers that another program's state has, in the order of `State.values()`; always a copy. */
export function importValues(values: unknown, dimensions: StateDimensions, options: unknown): Float32Array {
  const layout = checkLayout(options, dimensions);
  const numbers =
    layout === 'ChatRWKV' ? joinTensors(values, dimensions) : checkNumbers(values, dimensions, layout);
  return fromLayout(numbers, dimensions, layout);
}

function checkLayout(options: unknown, { embedding, heads, headSize, architecture }: StateDimensions) {
  const checks: Checks<StateLayoutOptions> = { layout: oneOf(...stateLayouts) };
  const { layout } = checkOptions(options, checks, 'options', ['layout']);
  if ((layout === 'web-rwkv' || architecture === 'rwkv4') && heads * headSize !== embedding) {
    throw new WkvError(
      'ERR_WKV_STATE',
      `${layout} has no layout for heads that are not as wide as the model`,
      {
        expected: `${embedding} channels in all heads`,
        found: `${heads} heads of ${headSize}`,
      },
    );
  }
  return layout;
}

function checkNumbers(values: unknown, dimensions: StateDimensions, layout: StateLayout): Float32Array {
  if (!isFloat32Array(values)) throw wrongType('values', 'a Float32Array', values);
  const expected = dimensions.layers * layerNumbers(dimensions);
  const found = lengthOf(values);
  if (found !== expected) {
    throw otherState(`the state of ${layout}`, `${expected} numbers`, `${found} numbers`);
  }
  return new Float32Array(values); // which has no length of its own
}

function joinTensors(tensors: unknown, dimensions: StateDimensions): Float32Array {
  if (!Array.isArray(tensors)) throw wrongType('values', 'an array of tensors, { shape, data }', tensors);
  const shapes = chatRwkvShapes(dimensions);
  if (tensors.length !== shapes.length) {
    throw otherState('the state of ChatRWKV', `${shapes.length} tensors`, `${tensors.length} tensors`);
  }
  const numbers = new Float32Array(dimensions.layers * layerNumbers(dimensions));
  let end = 0;
  for (const [index, shape] of shapes.entries()) {
    const data = checkTensor(`values[${index}]`, tensors[index], shape);
    numbers.set(data, end);
    end += lengthOf(data);
  }
  return numbers;
}

function checkTensor(name: string, tensor: unknown, expected: readonly number[]): Float32Array {
  if (typeof tensor !== 'object' || tensor === null) {
    throw wrongType(name, 'a tensor, { shape, data }', tensor);
  }
  const shape: unknown = Reflect.get(tensor, 'shape');
  const data: unknown = Reflect.get(tensor, 'data');
  if (!Array.isArray(shape)) throw wrongType(`${name}.shape`, 'an array', shape);
  if (!isFloat32Array(data)) throw wrongType(`${name}.data`, 'a Float32Array', data);
  if (shape.length !== expected.length || expected.some((size, axis) => size !== shape[axis])) {
    throw otherState(name, shapeText(expected), shapeText(shape));
  }
  const numbers = elementsOf({ shape: expected });
  const found = lengthOf(data);
  if (found !== numbers) {
    throw otherState(`${name}.data`, `${numbers} numbers`, `${found} numbers`);
  }
  return data;
}

function otherState(what: string, expected: string, found: string): WkvError {
  return new WkvError('ERR_WKV_STATE', `${what} is not of this model: expected ${expected}, found ${found}`, {
    expected,
    found,
  });
}
