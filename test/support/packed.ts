import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { convertModel, loadModel } from '../../lib/index';
import { allLogits, type withModel } from './model';

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** A packed file, read by the rules of safetensors alone. */
export interface PackedParts {
  metadata: Record<string, string>;
  entries: Record<string, Entry>;
  /** What follows the header. */
  data: Buffer;
  /** Where that begins. */
  start: number;
}

export function readParts(path: string): PackedParts {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, Entry>;
  const { __metadata__: metadata, ...entries } = header as Record<string, Entry> & {
    __metadata__: unknown;
  };
  return {
    metadata: metadata as Record<string, string>,
    entries,
    data: Buffer.from(bytes.subarray(start)),
    start,
  };
}

/** The file of these parts, with data that begins a page. */
export function writeParts(path: string, { metadata, entries, data }: PackedParts): void {
  const text = JSON.stringify({ __metadata__: metadata, ...entries });
  const header = Buffer.alloc(Math.ceil((8 + Buffer.byteLength(text)) / 4096) * 4096, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.write(text, 8);
  writeFileSync(path, Buffer.concat([header, data]));
}

/** What a conversion may leave in a folder when it does not end well. */
export function unfinished(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.part')) : [];
}

/** The bits of all logits of a text, and the fingerprint. */
export async function resultsOf(
  path: string,
  options: Parameters<typeof withModel>[1],
  tokens: Uint32Array,
): Promise<{ logits: Buffer; fingerprint: string }> {
  const model = await loadModel(path, options);
  try {
    const logits = await allLogits(model.createSession(), tokens);
    return { logits: Buffer.from(logits.buffer), fingerprint: model.info.fingerprint };
  } finally {
    await model.dispose();
  }
}

/** Converts to int8 and returns the path. */
export async function toInt8(input: string, output: string): Promise<string> {
  return (await convertModel(input, output, { weights: 'int8' })).path;
}
