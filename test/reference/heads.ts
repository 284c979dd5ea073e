/** What versions 5 and 6 have in common: a matrix S [N key][N value] for each head, and what becomes of its output. */
import { ReferenceModel, at, multiply, transposeHeads } from './common';

interface HeadInputs {
  /** Receptance, key and value, [A]. */
  r: Float64Array;
  k: Float64Array;
  v: Float64Array;
  /** Decay and bonus of each key channel, [A]. */
  w: Float64Array;
  u: Float64Array;
  /** What the output is multiplied by, [A]; not in version 5.0. */
  g?: Float64Array;
}

export abstract class HeadsModel extends ReferenceModel {
  readonly heads = this.tensor(this.headsTensor()).shape[0] ?? 0;
  readonly headSize = (this.tensor('blocks.0.att.key.weight').shape[0] ?? 0) / this.heads;

  /** The name of a tensor whose outermost dimension is H. */
  protected abstract headsTensor(): string;

  /** Zeros, or what the model was tuned to begin with: `time_state` has it as [H][N value][N key]. */
  protected override initialRecurrence(layer: number): Float64Array {
    const tuned = `blocks.${layer}.att.time_state`;
    if (this.has(tuned)) return transposeHeads(this.vector(tuned), this.headSize);
    return new Float64Array(this.heads * this.headSize ** 2);
  }

  /** The recurrence of all heads, normalized, gated, and the product with the output matrix: [D]. */
  protected mixHeads(name: string, { g, ...inputs }: HeadInputs, wkv: Float64Array): Float64Array {
    const y = new Float64Array(inputs.r.length);
    for (let first = 0; first < y.length; first += this.headSize) {
      y.set(this.#step(first, inputs, wkv), first);
    }
    const normalized = this.groupNorm(y, this.headSize, `${name}.ln_x`);
    return this.linear(`${name}.output`, g === undefined ? normalized : multiply(normalized, g));
  }

  /**
   * One head's step of the recurrence, with `first` the head's first channel:
   * y[j] = sum over i of r[i] * (S[i][j] + u[i] * k[i] * v[j]); then S[i][j] = w[i] * S[i][j] + k[i] * v[j].
   */
  #step(first: number, { r, k, v, w, u }: HeadInputs, wkv: Float64Array): Float64Array {
    const size = this.headSize;
    const y = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      const key = first + i;
      const [ri, ki, wi, ui] = [at(r, key), at(k, key), at(w, key), at(u, key)];
      for (let j = 0; j < size; j++) {
        const cell = key * size + j;
        const S = at(wkv, cell);
        const kv = ki * at(v, first + j);
        y[j] = at(y, j) + ri * (S + ui * kv);
        wkv[cell] = wi * S + kv;
      }
    }
    return y;
  }
}
