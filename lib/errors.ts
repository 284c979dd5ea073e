/** What went wrong, in a form that programs can compare. */
export type WkvErrorCode =
  /** A file is missing, truncated, corrupt, or not what it says. */
  | 'ERR_WKV_FORMAT'
  /**
   * A readable file of an architecture, data type or pickle opcode that is not supported; or weights that the type asked
   * for cannot be made of.
   */
  | 'ERR_WKV_UNSUPPORTED'
  /** Tensors are missing, or their shapes do not fit together. */
  | 'ERR_WKV_SHAPE'
  /**
   * A state, a saved chat or a saved sampler is of other weights, of another version, or damaged; or what is asked for is
   * not there: logits of a session that has seen nothing, an exchange to undo, a token that may be drawn.
   */
  | 'ERR_WKV_STATE'
  /** A token id outside the model, tokenizer or sampler; or text without a tokenizer, vocabulary or token for it. */
  | 'ERR_WKV_TOKEN'
  /** A device that was asked for cannot be used, or has no room, or there is no binary that this system can load. */
  | 'ERR_WKV_DEVICE'
  /** Not enough memory, or room on the disk, or too many files are open. */
  | 'ERR_WKV_MEMORY'
  /**
   * A session is used while its own generation is being iterated, or its state is read while a call is pending; or a chat is
   * used before its last call has ended.
   */
  | 'ERR_WKV_BUSY'
  /** An object is used after it was disposed. */
  | 'ERR_WKV_DISPOSED';

/** What an error is about; every part is optional. */
export interface WkvErrorDetails {
  /** The file concerned. */
  path?: string | undefined;
  /** The tensor concerned. */
  tensor?: string | undefined;
  /** What was expected, in words or as a shape. */
  expected?: string | undefined;
  /** What was found instead. */
  found?: string | undefined;
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * Every failure that is not a wrong argument (those are `TypeError` or `RangeError` with Node's own codes), not a
 * cancellation (that is `signal.reason`), and not the system's refusal of a file that {@link convertModel} writes or
 * {@link Tokenizer.fromVocabulary} reads (an `Error` with the system's code, such as `ENOENT`).
 */
export class WkvError extends Error {
  override readonly name = 'WkvError';
  readonly code: WkvErrorCode;
  declare readonly path?: string;
  declare readonly tensor?: string;
  declare readonly expected?: string;
  declare readonly found?: string;

  constructor(code: WkvErrorCode, message: string, details: WkvErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    const { path, tensor, expected, found } = details;
    Object.assign(
      this,
      path === undefined ? {} : { path },
      tensor === undefined ? {} : { tensor },
      expected === undefined ? {} : { expected },
      found === undefined ? {} : { found },
    );
    writeStack(this);
  }
}

/**
 * Has the stack of a new error written down as text. Until then it holds the objects whose methods were called: an error
 * that somebody keeps would keep a session with it.
 */
export function writeStack(error: Error): void {
  Reflect.get(error, 'stack');
}
