/** RWKV-6 ("Finch", arXiv 2404.05892) in float64: token shift and decay follow the token, the rest is that of 5.2. */
import { add, lerp, silu, vecmat, type LayerState } from './common';
import { HeadsModel } from './heads';

const { exp, tanh } = Math;

export class Rwkv6 extends HeadsModel {
  override readonly version = '6';

  protected override headsTensor(): string {
    return 'blocks.0.att.time_faaaa';
  }

  protected override timeMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.att`;
    const amounts = this.#amounts(name, x, state.attX);
    const shifted = (letter: Letter): Float64Array =>
      lerp(x, state.attX, add(this.vector(`${name}.time_maa_${letter}`), amounts[letter]));
    const xw = shifted('w');
    const r = this.linear(`${name}.receptance`, shifted('r'));
    const k = this.linear(`${name}.key`, shifted('k'));
    const v = this.linear(`${name}.value`, shifted('v'));
    const g = this.linear(`${name}.gate`, shifted('g')).map(silu);
    state.attX = x;

    const hidden = vecmat(xw, this.tensor(`${name}.time_decay_w1`)).map(tanh);
    const change = vecmat(hidden, this.tensor(`${name}.time_decay_w2`));
    const w = add(this.vector(`${name}.time_decay`), change).map((decay) => exp(-exp(decay)));
    const u = this.vector(`${name}.time_faaaa`);
    return this.mixHeads(name, { r, k, v, w, u, g }, state.recurrence);
  }

  /** What the token adds to the five amounts of its shift: tanh(xx W1) [5][R], each row times its own W2 [R, D]. */
  #amounts(name: string, x: Float64Array, previous: Float64Array): Record<Letter, Float64Array> {
    const xx = lerp(x, previous, this.vector(`${name}.time_maa_x`));
    const hidden = vecmat(xx, this.tensor(`${name}.time_maa_w1`)).map(tanh);
    const { shape, data } = this.tensor(`${name}.time_maa_w2`);
    const [, rank = 0, channels = 0] = shape;
    const amount = (i: number): Float64Array =>
      vecmat(hidden.subarray(i * rank, (i + 1) * rank), {
        shape: [rank, channels],
        data: data.subarray(i * rank * channels, (i + 1) * rank * channels),
      });
    return { w: amount(0), k: amount(1), v: amount(2), r: amount(3), g: amount(4) };
  }

  protected override channelMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.ffn`;
    const shifted = (amount: string): Float64Array => lerp(x, state.ffnX, this.vector(`${name}.${amount}`));
    const [xk, xr] = [shifted('time_maa_k'), shifted('time_maa_r')];
    state.ffnX = x;
    return this.gatedChannelMix(name, xk, xr);
  }
}

type Letter = 'w' | 'k' | 'v' | 'r' | 'g';
