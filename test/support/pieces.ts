import type { TokenizerLike } from '../../lib/index';

/** A tokenizer of given pieces, id 0 the end of text: longest match, as simple as can be. */
export class Pieces implements TokenizerLike {
  readonly size: number;
  readonly endOfText = 0;

  /** @param pieces of the ids from 1 on; as strings or, for parts of characters, as bytes */
  constructor(readonly pieces: readonly (string | readonly number[])[]) {
    this.size = pieces.length + 1;
  }

  encode(text: string | Uint8Array): Uint32Array {
    const bytes = Buffer.from(text);
    const ids: number[] = [];
    for (let at = 0; at < bytes.length;) {
      let [best, length] = [0, 0];
      for (let id = 1; id < this.size; id++) {
        const piece = this.bytes(id);
        if (piece.length > length && bytes.subarray(at, at + piece.length).equals(piece)) {
          [best, length] = [id, piece.length];
        }
      }
      if (length === 0) throw new Error(`no piece begins at ${at}`);
      ids.push(best);
      at += length;
    }
    return Uint32Array.from(ids);
  }

  decodeBytes(tokens: Uint32Array | readonly number[]): Uint8Array {
    return Uint8Array.from(Buffer.concat(Array.from(tokens, (id) => this.bytes(id))));
  }

  private bytes(id: number): Buffer {
    const piece = id === 0 ? [] : (this.pieces[id - 1] ?? []);
    return typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece);
  }
}

/**
 * Pieces that make stop strings and halves of characters meet token boundaries in every way: all their bytes are pieces
 * too, so that every text of them can be encoded.
 */
export const trickyPieces = new Pieces([
  ...[
    'a',
    'b',
    'ab',
    'ba',
    'aab',
    'bba',
    '\n',
    '\n\n',
    '\n\nUs',
    'U',
    's',
    'User',
    'User:',
    ':',
    ' ',
    'hiUs',
  ],
  ...['h', 'i', 'e', 'r', 'é', '中', '😀', 'a😀', '中\n'],
  ...[[0xc3], [0xa9], [0xe4], [0xb8], [0xad], [0xb8, 0xad], [0xf0, 0x9f], [0x98], [0x80], [0x98, 0x80, 0x61]],
  ...[[0xf0], [0x9f], [0xff]],
]);
