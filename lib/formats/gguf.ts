import { withoutPrototype } from '../options';
import { aboutAdapters } from './adapters';
import { corrupt, unsupported } from './failures';
import { ggufType, readGgufTypes } from './ggml-types';
import { GgufArray, type GgufHeader, type GgufTensor, MoreBytes, readGgufHeader } from './gguf-header';
import { type GgufArchitecture, ggufArchitectures, type GgufModel, ggufViews } from './gguf-names';
import { readGgufVocabulary } from './gguf-vocabulary';
import { aligned, checkCoverage, contiguousStrides, countElements, type Placed, shapeText } from './layout';
import { isLayerNormEpsilon, layerNormEpsilon, maxHeaderBytes } from './limits';
import type { FormatReader } from './reader';
import type { Source } from './source';
import { bytesOfNumbers, formOf, type StoredTensor, type TensorDirectory } from './tensor-directory';
import { quoted, shortened } from '../quoted';

/** How much of the header is read at first: all of it, unless there is a vocabulary. */
const firstBytes = 1 << 16;
const defaultAlignment = 32;

/**
 * ggml's docs/gguf.md: metadata, descriptions of tensors, and their elements, each at a multiple of the alignment.
 * Models are RWKV-6 and RWKV-7 as llama.cpp has them.
 */
export const ggufReader: FormatReader = {
  matches: (head) => head.toString('latin1', 0, 4) === 'GGUF',
  read: readGguf,
};

async function readGguf(source: Source): Promise<TensorDirectory> {
  const { path } = source;
  const { header, bytes } = await readHeader(source);
  if (header.metadata.get('general.type') === 'adapter') {
    throw unsupported(path, `is an adapter, ${aboutAdapters}`, { expected: 'a model', found: 'an adapter' });
  }
  const facts = new Facts(header, path);
  // First, as all parts but one say nothing but that they are one.
  facts.requireWhole();
  const architecture = facts.architecture();
  facts.requireEpsilon(architecture);
  const stored = placeTensors(header, facts.alignment(), source);
  const model: GgufModel = {
    architecture,
    headSize: facts.integer(`${architecture}.wkv.head_size`, 1, 1 << 24),
    rescaleEvery: facts.integer(`${architecture}.rescale_every_n_layers`, 0, 1 << 24, 0),
  };
  const tensors = stored.flatMap((tensor) => ggufViews(tensor, model, path));
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw corrupt(path, `two tensors are ${quoted(name)}`, { tensor: name });
    names.add(name);
  }
  const vocabulary = readGgufVocabulary(header, bytes, path);
  return {
    format: 'gguf',
    files: [source.file],
    tensors,
    metadata: textsOf(header),
    ...(vocabulary === undefined ? {} : { vocabulary }),
    close: () => Promise.resolve(),
  };
}

/** The header, and as many of the file's first bytes as it has. */
async function readHeader(source: Source): Promise<{ header: GgufHeader; bytes: Buffer }> {
  const most = Math.min(source.size, maxHeaderBytes);
  for (let length = Math.min(firstBytes, most); ;) {
    const bytes = await source.read(0, length, 'the header');
    try {
      return { header: readGgufHeader(bytes, source.size, source.path), bytes };
    } catch (error) {
      if (!(error instanceof MoreBytes)) throw error;
      length = Math.min(Math.max(4 * length, error.needed), most);
    }
  }
}

/** What the metadata has to say of the model. */
class Facts {
  constructor(
    private readonly header: GgufHeader,
    private readonly path: string,
  ) {}

  architecture(): GgufArchitecture {
    const found = this.header.metadata.get('general.architecture');
    if (typeof found !== 'string') throw corrupt(this.path, 'does not say its architecture');
    const known = ggufArchitectures.find((architecture) => architecture === found);
    if (known !== undefined) return known;
    throw unsupported(this.path, `is a GGUF file of the architecture ${quoted(found)}`, {
      expected: ggufArchitectures.join(' or '),
      found: shortened(found),
    });
  }

  alignment(): number {
    const alignment = this.integer('general.alignment', 1, 1 << 20, defaultAlignment);
    if ((alignment & (alignment - 1)) === 0) return alignment;
    throw corrupt(this.path, `the alignment is ${alignment}`, { expected: 'a power of two' });
  }

  requireWhole(): void {
    const parts = this.integer('split.count', 0, 1 << 16, 1);
    if (parts > 1) {
      throw unsupported(
        this.path,
        `is one of ${parts} files of a model; llama-gguf-split --merge makes one of them`,
      );
    }
  }

  requireEpsilon(architecture: GgufArchitecture): void {
    const key = `${architecture}.attention.layer_norm_epsilon`;
    const found = this.header.metadata.get(key) ?? layerNormEpsilon;
    if (typeof found === 'number' && isLayerNormEpsilon(found)) return;
    throw unsupported(this.path, `${key} is ${typeof found === 'number' ? found : 'no number'}`, {
      expected: String(layerNormEpsilon),
    });
  }

  integer(key: string, least: number, most: number, otherwise?: number): number {
    const found = this.header.metadata.get(key) ?? otherwise;
    if (typeof found === 'number' && Number.isInteger(found) && found >= least && found <= most) return found;
    throw corrupt(this.path, `the metadata has no ${key}`, {
      expected: `an integer from ${least} to ${most}`,
      found: found === undefined || found instanceof GgufArray ? 'nothing' : quoted(String(found)),
    });
  }
}

/** The tensors with their places in the file, which they fill from the header to the end but for the alignment. */
function placeTensors(header: GgufHeader, alignment: number, source: Source): StoredTensor[] {
  if (header.tensors.length === 0) throw corrupt(source.path, 'holds no tensors');
  const start = aligned(header.end, alignment);
  const placed = header.tensors.map((tensor) => placeTensor(tensor, start, source.path));
  checkCoverage(placed, start, source, alignment);
  return placed.map(({ tensor }) => tensor);
}

function placeTensor(
  { name, shape, type: code, offset }: GgufTensor,
  start: number,
  path: string,
): Placed<StoredTensor> {
  const { name: typeName, read: type } = ggufType(code);
  if (type === undefined) {
    throw unsupported(path, `the tensor ${quoted(name)} is of type ${typeName}`, {
      tensor: name,
      expected: readGgufTypes,
      found: typeName,
    });
  }
  const elements = countElements(path, name, shape);
  const { numbers } = formOf(type);
  if ((shape.at(-1) ?? 1) % numbers !== 0) {
    throw corrupt(path, `the tensor ${quoted(name)} of type ${typeName} has rows that are not whole blocks`, {
      tensor: name,
      expected: `rows of a multiple of ${numbers} numbers`,
      found: shapeText(shape),
    });
  }
  const strides = contiguousStrides(shape);
  const begin = start + offset;
  return {
    tensor: { name, type, shape, strides, file: 0, offset: begin },
    end: begin + bytesOfNumbers(type, elements),
  };
}

/** The metadata but for arrays, as text. */
function textsOf({ metadata }: GgufHeader): Record<string, string> {
  const texts = withoutPrototype<Record<string, string>>({});
  for (const [key, value] of metadata) {
    if (!(value instanceof GgufArray)) texts[key] = String(value);
  }
  return texts;
}
