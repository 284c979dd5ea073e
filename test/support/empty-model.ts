import { truncateSync, writeFileSync } from 'node:fs';
import { randomModel, type RandomModelShape } from './random-model';

/** A `.safetensors` of bf16 zeros that takes no room on the disk. */
export function writeEmptyModel(
  path: string,
  { layers, embedding, feedForward, vocabulary }: Omit<RandomModelShape, 'headSize' | 'type' | 'seed'>,
): void {
  // The names and ranks of a model of one small layer, with other dimensions.
  const dimension: Readonly<Record<number, number>> = { 16: embedding, 24: feedForward, 8: vocabulary };
  const small = randomModel({
    layers,
    embedding: 16,
    headSize: 4,
    feedForward: 24,
    vocabulary: 8,
    type: 'bf16',
    seed: 1,
  });
  let end = 0;
  const header = Object.fromEntries(
    small.map(({ name, shape: dimensions }) => {
      const heads = /time_(decay|faaaa)$/.test(name);
      const full = heads ? [embedding / 64, 64] : dimensions.map((size) => dimension[size] ?? size);
      const start = end;
      end += full.reduce((product, size) => product * size, 2);
      return [name, { dtype: 'BF16', shape: full, data_offsets: [start, end] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([length, text]));
  truncateSync(path, 8 + text.length + end);
}
