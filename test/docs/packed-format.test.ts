import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel } from '../../lib/index';
import { temporaryFolder, writeTensors } from '../support/model';
import { randomModel } from '../support/random-model';

// Reads a packed file by docs/packed-format.md alone.

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const folder = temporaryFolder();
const page = readFileSync(join(__dirname, '../../docs/packed-format.md'), 'utf8');
const tensors = randomModel({
  ...{ layers: 1, embedding: 40, headSize: 8, feedForward: 600, vocabulary: 50, type: 'mixed', seed: 8 },
});

let bytes: Buffer;
let start: number;
let metadata: Record<string, string>;
let entries: Record<string, Entry>;
beforeAll(async () => {
  const path = join(folder, 'packed.safetensors');
  await convertModel(await writeTensors(folder, 'source', 'pth', tensors), path, { weights: 'int8' });
  bytes = readFileSync(path);
  start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, unknown>;
  metadata = header['__metadata__'] as Record<string, string>;
  Reflect.deleteProperty(header, '__metadata__');
  entries = header as Record<string, Entry>;
});

const placeOf = (name: string): number => start + entries[name]!.data_offsets[0];

/** The matrix of a block, as the page says, and the step of each code. */
function unpack(name: string, rows: number, columns: number, group: number) {
  const width = group === 0 ? Math.ceil(columns / 16) * 16 : group;
  const inputScale = (column: number): number =>
    bytes.readFloatLE(placeOf(`${name}.input_scales`) + 4 * column);
  const values = new Float64Array(rows * columns);
  const steps = new Float64Array(rows * columns);
  let at = placeOf(name);
  for (let panel = 0; panel < rows; panel += 32) {
    for (let begin = 0; begin < columns; begin += width) {
      const padded = Math.min(width, Math.ceil(columns / 16) * 16 - begin);
      for (let r = 0; r < 32 && panel + r < rows; r++) {
        const scale = bytes.readFloatLE(at + 32 * padded + 4 * r);
        for (let c = 0; c < width && begin + c < columns; c++) {
          const code = bytes[at + (Math.floor(c / 4) * 32 + r) * 4 + (c % 4)]!;
          const place = (panel + r) * columns + begin + c;
          steps[place] = scale * inputScale(begin + c);
          values[place] = (code - 128) * steps[place];
        }
      }
      at += 32 * padded + 32 * 4;
    }
  }
  expect(at).toBe(start + entries[name]!.data_offsets[1]);
  return { values, steps };
}

test('the page names every key of the metadata', () => {
  for (const key of Object.keys(metadata)) expect(page).toContain(`\`${key}\``);
});

test('a block holds the weights of the original, to half a step of its codes', () => {
  const forms = JSON.parse(metadata['wkv.matrices']!) as Record<
    string,
    { rows: number; columns: number; group: number }
  >;
  for (const [name, { rows, columns, group }] of Object.entries(forms)) {
    const original = tensors.find((tensor) => tensor.name === name)!;
    expect(original.shape).toEqual([rows, columns]);
    const { values, steps } = unpack(name, rows, columns, group);
    const misses = Array.from(original.data, (value, i) => Math.abs(value - values[i]!) / steps[i]!);
    // Divisions and products in f32 move the border between two codes by a few millionths of 127 steps.
    expect(Math.max(...misses)).toBeLessThan(0.5 + 1e-4);
    expect(Math.max(...misses)).toBeGreaterThan(0.4);
  }
});

test('a block of int4 holds them too, to half a step of each code that is not the last', async () => {
  const path = join(folder, 'packed-int4.safetensors');
  const original = randomModel({
    ...{ layers: 1, embedding: 64, headSize: 16, feedForward: 296, vocabulary: 50, type: 'f32', seed: 9 },
  });
  await convertModel(await writeTensors(folder, 'source-int4', 'safetensors', original), path, {
    weights: 'int4',
  });
  const file = readFileSync(path);
  const begin = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, begin)) as Record<string, Entry> & {
    __metadata__: Record<string, string>;
  };
  const at = (name: string): number => begin + header[name]!.data_offsets[0];
  const half = (byte: number, low: boolean): number => (low ? byte % 16 : Math.floor(byte / 16));
  const magnitudes = [19, 38, 51, 61, 74, 89, 107, 127];
  const multipliers = [...magnitudes, ...magnitudes.map((magnitude) => -magnitude)];
  const forms = JSON.parse(header.__metadata__['wkv.matrices']!) as Record<
    string,
    { rows: number; columns: number; group: number; weights: string }
  >;
  const packed = Object.entries(forms).filter(([, { weights }]) => weights === 'int4');
  expect(packed.length).toBeGreaterThanOrEqual(8);
  for (const [name, { rows, columns, group }] of packed) {
    const { data } = original.find((tensor) => tensor.name === name)!;
    const padded = Math.ceil(columns / 16) * 16;
    const width = group === 0 ? padded : group;
    const scalesAt = 16 * padded + 32 * Math.ceil(padded / 32);
    const panelBytes = scalesAt + 32 * Math.ceil(padded / width);
    expect(header[name]!.shape).toEqual([Math.ceil((Math.ceil(rows / 32) * panelBytes) / 64) * 64]);
    let inside = 0;
    let largestMiss = 0;
    for (let row = 0; row < rows; row++) {
      const panel = at(name) + Math.floor(row / 32) * panelBytes;
      const r = row % 32;
      for (let c = 0; c < columns; c++) {
        const codes = file[panel + (Math.floor(c / 8) * 32 + r) * 4 + (c % 4)]!;
        const code = half(codes, c % 8 < 4) - 8;
        const b = Math.floor(c / 16);
        const multiplier =
          multipliers[half(file[panel + 16 * padded + Math.floor(b / 2) * 32 + r]!, b % 2 === 0)]!;
        const byte = file[panel + scalesAt + Math.floor(c / width) * 32 + r]!;
        const scale = 2 ** (Math.floor(byte / 16) - 20) * (1 + (byte % 16) / 16);
        const step = multiplier * scale * file.readFloatLE(at(`${name}.input_scales`) + 4 * c);
        if (code === -8 || code === 7) continue; // these may stand for larger weights
        inside += 1;
        largestMiss = Math.max(largestMiss, Math.abs(data[row * columns + c]! / step - code));
      }
    }
    // The quotient is rounded in f32.
    expect(largestMiss).toBeLessThan(0.5 + 1e-4);
    expect(inside).toBeGreaterThan(0.5 * rows * columns);
  }
});

test('everything else is as it was in the original', () => {
  for (const { name, type, shape, data } of tensors) {
    const entry = entries[name]!;
    if (entry.dtype === 'U8') continue;
    expect(entry).toMatchObject({ dtype: type.toUpperCase(), shape });
    const found = data.map((_, i) => {
      if (type === 'f32') return bytes.readFloatLE(placeOf(name) + 4 * i);
      const half = Buffer.from([0, 0, ...bytes.subarray(placeOf(name) + 2 * i, placeOf(name) + 2 * i + 2)]);
      return half.readFloatLE(0);
    });
    expect(found).toEqual(data);
  }
});
