/** Plain rounding to 4 bits, in float64: what `weights: 'int4'` is measured against. Shares no code with the package. */
import { rounded } from './int8';
import { matvec, type Product, type ReferenceTensor } from './common';

const columnsOfGroup = 32;

/** Bits a weight of {@link plainInt4}, with its scales in 16 bits. */
export const plainInt4Bits = 4 + 16 / columnsOfGroup;

/** Plain W4A8: groups of 32 weights to 15 steps of the largest magnitude / 7, one scale for a token's activations. */
export function plainInt4(): Product {
  const weights = new Map<string, ReferenceTensor>();
  return (name, matrix, vector) => {
    let kept = weights.get(name);
    if (kept === undefined) {
      const [, columns = 0] = matrix.shape;
      const data = new Float64Array(matrix.data.length);
      for (let begin = 0; begin < data.length; begin += columns) {
        data.set(rounded(matrix.data.subarray(begin, begin + columns), columnsOfGroup, 7), begin);
      }
      kept = { shape: matrix.shape, data };
      weights.set(name, kept);
    }
    return matvec(kept, rounded(vector, vector.length));
  };
}
