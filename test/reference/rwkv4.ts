/** RWKV-4 (arXiv 2305.13048) in float64: a running average for each channel, no heads, no gate. */
import { ReferenceModel, at, multiply, sigmoid, tokenShift, type LayerState } from './common';

const { exp, max } = Math;

export class Rwkv4 extends ReferenceModel {
  override readonly version = '4';

  /** aa = bb = 0, and pp below whatever comes. */
  protected override initialRecurrence(): Float64Array {
    return new Float64Array(3 * this.embedding).fill(-1e30, 2 * this.embedding);
  }

  protected override timeMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.att`;
    const shifted = (mix: string): Float64Array => tokenShift(x, state.attX, this.vector(`${name}.${mix}`));
    const r = this.linear(`${name}.receptance`, shifted('time_mix_r')).map(sigmoid);
    const k = this.linear(`${name}.key`, shifted('time_mix_k'));
    const v = this.linear(`${name}.value`, shifted('time_mix_v'));
    state.attX = x;
    const w = this.vector(`${name}.time_decay`).map((decay) => -exp(decay));
    const u = this.vector(`${name}.time_first`);
    return this.linear(`${name}.output`, multiply(r, this.#recurrence({ k, v, w, u }, state.recurrence)));
  }

  /**
   * The average of the values v, each weighted with e^k that decays by e^w a token, the newest with e^(u + k) instead.
   * aa is the weighted sum and bb the sum of weights, both divided by e^pp so that nothing overflows.
   */
  #recurrence(
    { k, v, w, u }: Record<'k' | 'v' | 'w' | 'u', Float64Array>,
    recurrence: Float64Array,
  ): Float64Array {
    const channels = this.embedding;
    const aa = recurrence.subarray(0, channels);
    const bb = recurrence.subarray(channels, 2 * channels);
    const pp = recurrence.subarray(2 * channels);
    return k.map((key, c) => {
      let ww = at(u, c) + key;
      let q = max(at(pp, c), ww);
      const numerator = exp(at(pp, c) - q) * at(aa, c) + exp(ww - q) * at(v, c);
      const denominator = exp(at(pp, c) - q) * at(bb, c) + exp(ww - q);

      ww = at(pp, c) + at(w, c);
      q = max(ww, key);
      aa[c] = exp(ww - q) * at(aa, c) + exp(key - q) * at(v, c);
      bb[c] = exp(ww - q) * at(bb, c) + exp(key - q);
      pp[c] = q;
      return numerator / denominator;
    });
  }

  protected override channelMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.ffn`;
    const shifted = (mix: string): Float64Array => tokenShift(x, state.ffnX, this.vector(`${name}.${mix}`));
    const [xk, xr] = [shifted('time_mix_k'), shifted('time_mix_r')];
    state.ffnX = x;
    return this.gatedChannelMix(name, xk, xr);
  }
}
