import { corrupt, unsupported } from './failures';
import { maxDimensions } from './limits';
import type { Source } from './source';
import { quoted } from '../quoted';

/** The shape as a message shows it: `[2, 3]`. */
export function shapeText(shape: readonly unknown[]): string {
  const sizes = shape.slice(0, 2 * maxDimensions).map(sizeText);
  return `[${sizes.join(', ')}${shape.length > 2 * maxDimensions ? ', ...' : ''}]`;
}

/** A dimension, or what a file has in place of one. */
function sizeText(size: unknown): string {
  if (typeof size === 'string') return quoted(size);
  return typeof size === 'object' && size !== null ? 'an object' : String(size);
}

/**
 * Checks that a shape is one that a weight can have and counts its elements.
 *
 * @returns the product of the dimensions, a safe integer even when multiplied by the bytes of an element
 */
export function countElements(path: string, tensor: string, shape: readonly unknown[]): number {
  if (shape.length > maxDimensions) {
    throw unsupported(path, `the tensor ${quoted(tensor)} has ${shape.length} dimensions`, {
      tensor,
      expected: `at most ${maxDimensions} dimensions`,
      found: shapeText(shape),
    });
  }
  let count = 1;
  for (const size of shape) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      throw corrupt(path, `the tensor ${quoted(tensor)} has an impossible shape ${shapeText(shape)}`, {
        tensor,
      });
    }
    if (size === 0) {
      throw unsupported(path, `the tensor ${quoted(tensor)} is empty: its shape is ${shapeText(shape)}`, {
        tensor,
      });
    }
    count *= size;
    // A product of two safe integers is never rounded to something small, so nothing slips through here.
    if (count * 8 > Number.MAX_SAFE_INTEGER) {
      throw corrupt(
        path,
        `the shape ${shapeText(shape)} of the tensor ${quoted(tensor)} is too large to exist`,
        {
          tensor,
        },
      );
    }
  }
  return count;
}

/** Strides of a tensor whose elements lie in order without gaps. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis] ?? 1;
  }
  return strides;
}

/** Index of the last element that a checked shape with these strides reaches, counted from its first element. */
export function lastIndex(shape: readonly number[], strides: readonly number[]): number {
  let last = 0;
  for (const [axis, size] of shape.entries()) {
    last += (size - 1) * (strides[axis] ?? 0);
  }
  return last;
}

/** The next multiple of `alignment`. */
export function aligned(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** A tensor at its place in a file. */
export interface Placed<Tensor> {
  tensor: Tensor;
  /** Behind its last byte. */
  end: number;
}

/** The tensors have to fill the file from `start` to its end but for the alignment, each byte belonging to one. */
export function checkCoverage(
  placed: readonly Placed<{ name: string; offset: number }>[],
  start: number,
  { path, size }: Pick<Source, 'path' | 'size'>,
  alignment = 1,
): void {
  let position = start;
  for (const { tensor, end } of [...placed].sort((a, b) => a.tensor.offset - b.tensor.offset)) {
    const { name, offset } = tensor;
    if (offset !== position) {
      const problem = offset < position ? 'overlaps another' : 'leaves a gap before it';
      throw corrupt(path, `the tensor ${quoted(name)} ${problem}`, {
        tensor: name,
        expected: `data from ${position - start} on`,
        found: `data from ${offset - start} on`,
      });
    }
    if (end > size) {
      throw corrupt(path, `the file ends inside the tensor ${quoted(name)}`, {
        tensor: name,
        expected: `at least ${end} bytes`,
        found: `${size} bytes`,
      });
    }
    position = aligned(end, alignment);
  }
  if (size > position) {
    throw corrupt(path, 'the last tensor is followed by something else', {
      expected: `${position} bytes`,
      found: `${size} bytes`,
    });
  }
}
