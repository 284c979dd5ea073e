import { InvalidArgumentError } from 'commander';
import { anyDevice, type Device } from '../device';

/** Reads a number from `lowest` to `highest`, both included. */
export function number(lowest: number, highest: number) {
  return (text: string): number => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (!(value >= lowest && value <= highest)) {
      throw new InvalidArgumentError(`It has to be a number from ${lowest} to ${highest}.`);
    }
    return value;
  };
}

/** Reads an integer from `lowest` on, to `highest` where there is one; both included. */
export function integer(lowest: number, highest = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= lowest && value <= highest)) {
      const range = highest === Number.MAX_SAFE_INTEGER ? `from ${lowest}` : `from ${lowest} to ${highest}`;
      throw new InvalidArgumentError(`It has to be an integer ${range}.`);
    }
    return value;
  };
}

/** Reads the path of a file. */
export function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('It has to be a path.');
  return text;
}

/** Reads the path of a file that is to be a .safetensors. */
export function outputPath(text: string): string {
  if (text === '-' || /\.(gguf|pth|bin|st)$/i.test(text)) {
    throw new InvalidArgumentError('A .safetensors is written; give it that name.');
  }
  return path(text);
}

/** Reads the name of a device. */
export function device(text: string): Device {
  try {
    return anyDevice('--device', text);
  } catch {
    throw new InvalidArgumentError('It has to be auto, cpu, cuda, or cuda:0 and so on.');
  }
}

/** Reads a seed: an integer from 0 to 2^64 - 1. */
export function seed(text: string): bigint {
  const value = /^\d{1,20}$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || value >= 1n << 64n) {
    throw new InvalidArgumentError('It has to be an integer from 0 to 2^64 - 1.');
  }
  return value;
}
