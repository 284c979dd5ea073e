import { isQuantized, quantizedPrecisions, type QuantizedPrecision } from '../quantized';
import { corrupt, unsupported } from './failures';
import { type JsonValue, parseJson } from './strict-json';
import { plainType, storedTypeBytes, type StoredTensor } from './tensor-directory';
import { elementsOf } from './views';
import { quoted } from '../quoted';
import { messageOf } from '../thrown';

// Packed files are safetensors with metadata of their own: docs/packed-format.md.

const version = '1';
/** Where elements and blocks begin, so that a mapped file has them aligned. */
const pageBytes = 4096;
const unknownFingerprint = '0'.repeat(32);

/** The form of a packed matrix; `group` columns share a scale (0: all of a row). */
export interface Form {
  rows: number;
  columns: number;
  group: number;
  weights: QuantizedPrecision;
}

/** What the metadata of a packed file says. */
export interface Packing {
  weights: QuantizedPrecision;
  fingerprint: string;
  matrices: ReadonlyMap<string, Form>;
}

/** What a file's metadata says about its packing; nothing where it is not a packed file. */
export function readPacking(metadata: Readonly<Record<string, string>>, path: string): Packing | undefined {
  if (metadata['format'] !== 'wkv') return undefined;
  const required = (key: string, pattern: RegExp, expected: string): string => {
    const found = metadata[key];
    if (found !== undefined && pattern.test(found)) return found;
    const what = found === undefined ? 'nothing' : quoted(found);
    throw corrupt(path, `the metadata of a packed file has ${what} as ${key}`, { expected, found: what });
  };
  const written = required('wkv.version', /^[1-9]\d{0,8}$/, 'a version');
  if (written !== version) {
    throw unsupported(path, `is a packed file of version ${written}, which a newer wkv made`, {
      expected: `version ${version}`,
      found: `version ${written}`,
    });
  }
  const weights = required('wkv.weights', /^[a-z0-9]{1,16}$/, quantizedPrecisions.join(' or '));
  if (!isQuantized(weights)) {
    throw unsupported(path, `is packed as ${quoted(weights)}, which this wkv does not know`, {
      expected: quantizedPrecisions.join(' or '),
      found: weights,
    });
  }
  const fingerprint = required('wkv.fingerprint', /^[0-9a-f]{32}$/, '32 hex digits');
  const forms = required('wkv.matrices', /^/, 'the forms of matrices as JSON');
  return { weights, fingerprint, matrices: readForms(forms, path) };
}

function readForms(text: string, path: string): ReadonlyMap<string, Form> {
  let forms: JsonValue;
  try {
    forms = parseJson(Buffer.from(text));
  } catch (cause) {
    throw corrupt(path, `wkv.matrices is damaged: ${messageOf(cause)}`, { cause });
  }
  if (!(forms instanceof Map)) throw corrupt(path, 'wkv.matrices is not a JSON object');
  return new Map([...forms].map(([name, form]) => [name, readForm(name, form, path)]));
}

function readForm(name: string, form: JsonValue, path: string): Form {
  const number = (key: string, least: number): number => {
    const value = form instanceof Map ? form.get(key) : undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value < 2 ** 30)
      return value;
    throw corrupt(path, `wkv.matrices has no ${key} of the tensor ${quoted(name)}`, {
      tensor: name,
      expected: `an integer from ${least}`,
    });
  };
  const weights = form instanceof Map ? form.get('weights') : undefined;
  if (typeof weights !== 'string' || !isQuantized(weights)) {
    throw corrupt(path, `wkv.matrices does not say what the tensor ${quoted(name)} is packed as`, {
      tensor: name,
      expected: quantizedPrecisions.join(' or '),
    });
  }
  return { rows: number('rows', 1), columns: number('columns', 1), group: number('group', 0), weights };
}

/** A matrix as it will be packed. */
export interface PlannedMatrix extends Form {
  name: string;
  /** Of its block; a multiple of 64. */
  bytes: number;
}

/** Where everything of a packed file lies. */
interface PackedLayout {
  /** The file's first bytes, up to the first block. */
  header: Buffer;
  /** Where in the header the fingerprint is, which is not known before all of the weights have been read. */
  fingerprintAt: number;
  /** Byte offsets in the file. */
  places: Record<string, number>;
  /** The file's size in bytes. */
  bytes: number;
}

/**
 * Lays out a packed file: blocks first, each a multiple of 64 bytes, then elements, the widest first; so everything
 * is aligned although the format allows no gaps. The same weights (and chat template) give the same file, whatever held
 * them.
 *
 * @param others the tensors that are not packed
 * @param more metadata beside those of packed files
 */
export function layOutPacked(
  weights: QuantizedPrecision,
  matrices: readonly PlannedMatrix[],
  others: readonly StoredTensor[],
  more: Readonly<Record<string, string>>,
): PackedLayout {
  const scales = matrices.map(({ name, columns }) => ({
    ...{ name: `${name}.input_scales`, dtype: 'F32', shape: [columns] as readonly number[] },
    ...{ width: 4, bytes: 4 * columns },
  }));
  const sorted = [...others].sort((a, b) => (a.name < b.name ? -1 : 1));
  const elements = sorted.map((tensor) => {
    const { name, shape } = tensor;
    const type = plainType(tensor);
    const width = storedTypeBytes[type];
    const bytes = elementsOf(tensor) * width;
    return { name, dtype: type.toUpperCase(), shape, width, bytes };
  });
  const blocks = matrices.map(({ name, bytes }) => ({ name, dtype: 'U8', shape: [bytes], width: 64, bytes }));
  const tensors = [...blocks, ...scales, ...elements].sort((a, b) => b.width - a.width);

  const entries = new Map<string, unknown>();
  let end = 0;
  const begins = tensors.map(({ name, dtype, shape, bytes }) => {
    const begin = end;
    end += bytes;
    entries.set(name, { dtype, shape, data_offsets: [begin, end] });
    return [name, begin] as const;
  });
  const forms = matrices.map(
    ({ name, rows, columns, group, weights: kept }) =>
      [name, { rows, columns, group, weights: kept }] as const,
  );
  const metadata = {
    format: 'wkv',
    'wkv.version': version,
    'wkv.weights': weights,
    'wkv.fingerprint': unknownFingerprint,
    'wkv.matrices': JSON.stringify(Object.fromEntries(forms)),
    // Last: their text may be anything, and the fingerprint's place is looked for.
    ...more,
  };
  const text = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const header = withLength(text);
  return {
    header,
    fingerprintAt: header.indexOf(unknownFingerprint),
    places: Object.fromEntries(begins.map(([name, begin]) => [name, header.length + begin])),
    bytes: header.length + end,
  };
}

/** The header with its length in front, filled up with spaces so that what follows begins a page. */
export function withLength(text: string): Buffer {
  const bytes = 8 + Buffer.byteLength(text);
  const header = Buffer.alloc(Math.ceil(bytes / pageBytes) * pageBytes, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.write(text, 8);
  return header;
}
