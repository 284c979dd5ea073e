import type { Source } from './source';
import type { SourceFile, TensorDirectory } from './tensor-directory';

export interface ReadContext {
  signal: AbortSignal | undefined;
  /** Whether compressed weights are left as they are, with places that mean nothing. */
  headersOnly: boolean;
  /** Gets every file that is opened. */
  opened: SourceFile[];
}

/** One format of weight files: how to recognize it, and how to read its header. */
export interface FormatReader {
  /** Whether a file is of this format, by its first bytes (up to `headBytes` of them). */
  matches(head: Buffer): boolean;
  /** Reads the header. The source stays the caller's, who closes it. */
  read(source: Source, context: ReadContext): Promise<TensorDirectory>;
}

/** How much of a file `matches` gets to see; less where the file is shorter. */
export const headBytes = 512;
