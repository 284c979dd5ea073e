import { ggufReader } from './gguf';
import { legacyPthReader } from './legacy-pth';
import { pthReader } from './pth';
import type { FormatReader } from './reader';
import { rwkvCppReader } from './rwkvcpp';
import { safetensorsReader } from './safetensors';

/**
 * Every format that is read; the first that recognizes a file reads it. Safetensors comes first: the length that
 * it begins with may look like the first bytes of a pickle, but no pickle has `{` where its header begins.
 */
export const readers: readonly FormatReader[] = [
  safetensorsReader,
  pthReader,
  ggufReader,
  rwkvCppReader,
  legacyPthReader,
];
