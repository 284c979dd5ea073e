import type { WkvErrorCode } from '../errors';

/** What people pass by mistake, recognized by its first bytes. */
interface Lookalike {
  matches(head: Buffer): boolean;
  code: WkvErrorCode;
  /** Completes "the file is ...". */
  description: string;
}

function startsWith(...bytes: readonly number[]): (head: Buffer) => boolean {
  return (head) => head.length >= bytes.length && bytes.every((byte, index) => head[index] === byte);
}

function startsWithText(pattern: RegExp): (head: Buffer) => boolean {
  return (head) => pattern.test(head.toString('latin1'));
}

const lookalikes: readonly Lookalike[] = [
  {
    // The magic numbers 'ggml', 'ggjt' and 'ggla' as little-endian integers.
    matches: startsWithText(/^(?:lmgg|tjgg|algg)/),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'a ggml file of an early llama.cpp, which is not supported',
  },
  {
    matches: startsWithText(/^version https:\/\/git-lfs/),
    code: 'ERR_WKV_FORMAT',
    description: 'a Git LFS pointer, not the file it points to: "git lfs pull" fetches that',
  },
  {
    matches: startsWithText(/^(?:\u00ef\u00bb\u00bf)?\s*<(?:!doctype|html|\?xml|!--)/i),
    code: 'ERR_WKV_FORMAT',
    description: 'a web page, not a model: its address probably needs "resolve" where it says "blob"',
  },
  {
    matches: startsWith(0x1f, 0x8b),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'compressed with gzip: unpack it first',
  },
  {
    matches: startsWith(0x28, 0xb5, 0x2f, 0xfd),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'compressed with zstd: unpack it first',
  },
  {
    matches: startsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'compressed with xz: unpack it first',
  },
  {
    matches: startsWith(0x37, 0x7a, 0xbc, 0xaf),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'a 7z archive: unpack it first',
  },
  {
    matches: startsWithText(/^[^]{257}ustar/),
    code: 'ERR_WKV_UNSUPPORTED',
    description:
      'a tar archive: unpack it first (one that torch 0.1 wrote has to be saved anew by a newer torch)',
  },
  {
    matches: startsWithText(/^\u0089HDF/),
    code: 'ERR_WKV_UNSUPPORTED',
    description: 'an HDF5 file, which is not supported',
  },
  {
    matches: (head) => head.every((byte) => byte === 0),
    code: 'ERR_WKV_FORMAT',
    description: 'full of zeros: its download was probably never finished',
  },
];

/** What a file looks like that no reader recognizes. */
export function describeUnknown(head: Buffer): Pick<Lookalike, 'code' | 'description'> {
  const known = lookalikes.find((lookalike) => lookalike.matches(head));
  if (known !== undefined) return known;
  const bytes = [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return {
    code: 'ERR_WKV_FORMAT',
    description: `neither a torch file (.pth) nor safetensors, nor GGUF, nor of rwkv.cpp; it begins with the bytes ${bytes}`,
  };
}
