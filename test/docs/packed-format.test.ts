import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertModel } from '../../lib/index';
import { temporaryFolder, writeTensors } from '../model/support';
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
