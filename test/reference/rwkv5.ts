/** RWKV 5.0, 5.1 and 5.2 ("Eagle", arXiv 2404.05892) in float64. */
import { silu, tokenShift, type LayerState } from './common';
import { HeadsModel } from './heads';

const { exp } = Math;

export class Rwkv5 extends HeadsModel {
  /** A gate tells 5.1 from 5.0; decays of their own for the channels of a head tell 5.2 from 5.1. */
  override get version(): string {
    const [, channels = 1] = this.tensor('blocks.0.att.time_decay').shape;
    if (!this.has('blocks.0.att.gate.weight')) return '5.0';
    return channels > 1 ? '5.2' : '5.1';
  }

  protected override headsTensor(): string {
    return 'blocks.0.att.time_decay';
  }

  protected override timeMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.att`;
    const shifted = (mix: string): Float64Array => tokenShift(x, state.attX, this.vector(`${name}.${mix}`));
    const r = this.linear(`${name}.receptance`, shifted('time_mix_r'));
    const k = this.linear(`${name}.key`, shifted('time_mix_k'));
    const v = this.linear(`${name}.value`, shifted('time_mix_v'));
    const g =
      this.version === '5.0' ? {} : { g: this.linear(`${name}.gate`, shifted('time_mix_g')).map(silu) };
    state.attX = x;
    const w = this.#perChannel(this.vector(`${name}.time_decay`).map((decay) => exp(-exp(decay))));
    // The older files have the logarithm of the bonus, under another name.
    const u = this.#perChannel(
      this.has(`${name}.time_faaaa`)
        ? this.vector(`${name}.time_faaaa`)
        : this.vector(`${name}.time_first`).map(exp),
    );
    return this.mixHeads(name, { r, k, v, w, u, ...g }, state.recurrence);
  }

  protected override channelMix(layer: number, x: Float64Array, state: LayerState): Float64Array {
    const name = `blocks.${layer}.ffn`;
    const shifted = (mix: string): Float64Array => tokenShift(x, state.ffnX, this.vector(`${name}.${mix}`));
    const [xk, xr] = [shifted('time_mix_k'), shifted('time_mix_r')];
    state.ffnX = x;
    return this.gatedChannelMix(name, xk, xr);
  }

  /** [A], from one number for each channel or for each head. */
  #perChannel(values: Float64Array): Float64Array {
    const channels = (this.heads * this.headSize) / values.length;
    return Float64Array.from({ length: values.length * channels }, (_, c) => {
      return values[Math.trunc(c / channels)] ?? NaN;
    });
  }
}
