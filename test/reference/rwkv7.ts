/** RWKV-7 ("Goose", arXiv 2503.14456) in float64: a state that is corrected by the delta rule, [value][key]. */
import {
  ReferenceModel,
  add,
  at,
  lerp,
  multiply,
  sigmoid,
  squaredRelu,
  vecmat,
  type LayerState,
} from './common';

const { exp, max, sqrt, tanh } = Math;

type Activation = (x: number) => number;
const identity: Activation = (x) => x;

export class Rwkv7 extends ReferenceModel {
  override readonly version = '7';
  readonly heads = this.tensor('blocks.0.att.r_k').shape[0] ?? 0;
  readonly headSize = this.embedding / this.heads;
  /** The values of layer 0 for the token that is being read, [D]; later layers mix them into theirs. */
  #firstValues: Float64Array = new Float64Array();

  /**
   * Zeros, or what the model was tuned to begin with, stored as the recurrence has it, [H][N value][N key]. RWKV-PEFT,
   * which makes such files, hands `time_state` as it is to its kernels of version 7, and transposed to flash-linear-
   * attention's, whose state is [key][value]. So only versions 5 and 6 turn it around.
   */
  protected override initialRecurrence(layer: number): Float64Array {
    const tuned = `blocks.${layer}.att.time_state`;
    return this.has(tuned) ? this.vector(tuned).slice() : new Float64Array(this.embedding * this.headSize);
  }

  protected override timeMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.att`;
    const vector = (part: string): Float64Array => this.vector(`${name}.${part}`);
    const shifted = (letter: string): Float64Array => lerp(x, state.attX, vector(`x_${letter}`));
    const [xr, xw, xk, xv, xa, xg] = ['r', 'w', 'k', 'v', 'a', 'g'].map(shifted) as Six;
    state.attX = x;
    const r = this.linear(`${name}.receptance`, xr);
    const w = add(vector('w0'), this.#lora(`${name}.w`, xw, tanh)).map((d) => exp(-exp(-0.5) * sigmoid(d)));
    const k = this.linear(`${name}.key`, xk);
    const ownV = this.linear(`${name}.value`, xv);
    const a = add(vector('a0'), this.#lora(`${name}.a`, xa, identity)).map(sigmoid);
    const g = this.#lora(`${name}.g`, xg, sigmoid);

    let v = ownV;
    if (layer === 0) {
      this.#firstValues = v;
    } else {
      const amount = add(vector('v0'), this.#lora(`${name}.v`, xv, identity)).map(sigmoid);
      v = lerp(ownV, this.#firstValues, amount);
    }
    const kk = this.#normalizedHeads(multiply(k, vector('k_k')));
    const kA = vector('k_a');
    const changedK = k.map((key, i) => key * (1 + (at(a, i) - 1) * at(kA, i)));

    const y = this.#recurrence({ r, w, k: changedK, v, kk, a }, state.recurrence);
    const normalized = this.groupNorm(y, this.headSize, `${name}.ln_x`);
    const bonus = this.#bonus(r, changedK, vector('r_k'), v);
    return this.linear(`${name}.output`, multiply(add(normalized, bonus), g));
  }

  /**
   * A step of all heads' S [N value][N key]: S = S * w[key] + (S (-kk))[value] * (kk * a)[key] + v[value] * k[key], then
   * y = S r.
   */
  #recurrence(
    { r, w, k, v, kk, a }: Record<'r' | 'w' | 'k' | 'v' | 'kk' | 'a', Float64Array>,
    S: Float64Array,
  ): Float64Array {
    const size = this.headSize;
    return v.map((value, row) => {
      const first = row - (row % size); // the head's first channel
      const cells = S.subarray(row * size, (row + 1) * size);
      const removed = cells.reduce((sum, cell, i) => sum - cell * at(kk, first + i), 0);
      for (let i = 0; i < size; i++) {
        const key = first + i;
        cells[i] = at(cells, i) * at(w, key) + removed * at(kk, key) * at(a, key) + value * at(k, key);
      }
      return cells.reduce((sum, cell, i) => sum + cell * at(r, first + i), 0);
    });
  }

  /** For each head the sum of r * k * r_k, times its values. */
  #bonus(r: Float64Array, k: Float64Array, rK: Float64Array, v: Float64Array): Float64Array {
    const products = multiply(multiply(r, k), rK);
    return v.map((value, i) => {
      const first = i - (i % this.headSize);
      return (
        value * products.subarray(first, first + this.headSize).reduce((sum, product) => sum + product, 0)
      );
    });
  }

  /** Each head divided by its length. */
  #normalizedHeads(x: Float64Array): Float64Array {
    return x.map((value, i) => {
      const first = i - (i % this.headSize);
      const head = x.subarray(first, first + this.headSize);
      return value / max(sqrt(head.reduce((sum, element) => sum + element ** 2, 0)), 1e-12);
    });
  }

  /** activation(x W1) W2, with W1 [D, R] and W2 [R, D]. */
  #lora(name: string, x: Float64Array, activation: Activation): Float64Array {
    const hidden = vecmat(x, this.tensor(`${name}1`)).map((value) => activation(value));
    return vecmat(hidden, this.tensor(`${name}2`));
  }

  protected override channelMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.ffn`;
    const xk = lerp(x, state.ffnX, this.vector(`${name}.x_k`));
    state.ffnX = x;
    return this.linear(`${name}.value`, this.linear(`${name}.key`, xk).map(squaredRelu));
  }
}

type Six = [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
