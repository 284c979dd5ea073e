import { show, wrongValue } from './options';

/** 'cuda' is the first NVIDIA GPU that can be used, 'cuda:1' and so on a certain one. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** Checks an option. */
export function anyDevice(name: string, value: unknown): Device {
  if (value === 'auto' || value === 'cpu' || value === 'cuda') return value;
  if (typeof value === 'string' && /^cuda:\d{1,3}$/.test(value)) return `cuda:${Number(value.slice(5))}`;
  throw wrongValue(`${name}: expected 'auto', 'cpu', 'cuda' or 'cuda:0' and so on, found ${show(value)}`);
}
