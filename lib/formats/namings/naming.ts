import type { StoredTensor, TensorDirectory } from '../tensor-directory';

/** What a tensor is in BlinkDL's naming: mostly one tensor. One whose name it does not know stays as it is. */
export type Translation = (tensor: StoredTensor) => StoredTensor[];

/** What somebody's names and layouts are in BlinkDL's, and the other way round. */
export interface Names {
  translate: Translation;
  /** What is called so by BlinkDL is called in this naming; nothing where that is not known. */
  theirs?(name: string): string | undefined;
}

/**
 * How somebody calls the tensors of a model, and lays them out: how they become BlinkDL's, for a directory that is in
 * this naming; nothing for any other.
 */
export type Naming = (directory: TensorDirectory) => Names | undefined;

/** A vector [n] as BlinkDL has most of them, [1, 1, n]. */
export function asRow(tensor: StoredTensor): StoredTensor {
  const { shape, strides } = tensor;
  const [size, step] = [shape[0] ?? 0, strides[0] ?? 0];
  if (shape.length !== 1) return tensor;
  return { ...tensor, shape: [1, 1, size], strides: [size * step, size * step, step] };
}

/** What a tensor of a layer is called by BlinkDL, and what has to be done to its shape. */
export interface Place {
  name: string;
  form?: (tensor: StoredTensor) => StoredTensor;
}

/** The places of a norm, which has a weight and a bias. */
export function norm(
  theirs: string,
  ours: string,
  form: Place['form'] = (tensor) => tensor,
): [string, Place][] {
  return ['weight', 'bias'].map((part) => [`${theirs}.${part}`, { name: `${ours}.${part}`, form }]);
}

/** The place of a matrix that BlinkDL has as [out, in], too. */
export function matrix(theirs: string, ours: string): [string, Place] {
  return [`${theirs}.weight`, { name: `${ours}.weight` }];
}

/**
 * The names of models for transformers whose layers are called `model.layers.N.`.
 *
 * @param outside what is in no layer, or in BlinkDL's first one only
 * @param places what a layer has, without `model.layers.N.` in front
 */
export function namesOfLayers(
  outside: ReadonlyMap<string, string>,
  places: ReadonlyMap<string, Place>,
): Required<Names> {
  const theirOutside = new Map([...outside].map(([theirs, ours]) => [ours, theirs]));
  const theirPlaces = new Map([...places].map(([theirs, { name }]) => [name, theirs]));
  return {
    translate: (tensor) => {
      const name = outside.get(tensor.name);
      if (name !== undefined) return [{ ...tensor, name }];
      const [, layer, part = ''] = /^model\.layers\.(\d+)\.(.+)$/.exec(tensor.name) ?? [];
      const place = places.get(part);
      if (place === undefined) return [tensor];
      return [{ ...(place.form?.(tensor) ?? tensor), name: `blocks.${layer}.${place.name}` }];
    },
    theirs: (name) => {
      const [, layer, part = ''] = /^blocks\.(\d+)\.(.+)$/.exec(name) ?? [];
      const place = theirPlaces.get(part);
      return theirOutside.get(name) ?? (place === undefined ? undefined : `model.layers.${layer}.${place}`);
    },
  };
}
