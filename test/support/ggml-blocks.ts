import { bitsToFloat, floatToBits, roundTo } from './float16';

// ggml's block types, written down for tests on their own: plain quantizers, which lose a little more than ggml's,
// and exact decoders. A block of codes is taken apart bit by bit here.

export const blockTypes = [
  ...(['q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1'] as const),
  ...(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs'] as const),
];

export type BlockType = (typeof blockTypes)[number];

interface Coder {
  numbers: number;
  bytes: number;
  encode: (values: readonly number[], block: Buffer) => void;
  /** Number `index` of a block, exactly. */
  decode: (block: Buffer, index: number) => number;
}

const clamped = (value: number, least: number, most: number): number =>
  Math.min(Math.max(Math.round(value), least), most);
const largest = (values: readonly number[]): number => Math.max(...values.map(Math.abs));
/** Values in groups of so many. */
const groupsOf = (values: readonly number[], size: number): number[][] =>
  Array.from({ length: values.length / size }, (_, group) => values.slice(group * size, group * size + size));
/** A quotient, 0 where everything is 0. */
const over = (value: number, scale: number): number => (scale === 0 ? 0 : value / scale);

function putScale(block: Buffer, offset: number, scale: number): number {
  block.writeUInt16LE(floatToBits('f16', scale), offset);
  return roundTo('f16', scale);
}
const scaleAt = (block: Buffer, offset: number): number => bitsToFloat('f16', block.readUInt16LE(offset));

/** Bits `from` on of a place in the block, so many of them. */
const bitsAt = (block: Buffer, byte: number, from: number, count: number): number =>
  Math.floor(block[byte]! / 2 ** from) % 2 ** count;
function putBits(block: Buffer, byte: number, from: number, value: number): void {
  block[byte]! += value * 2 ** from;
}

/** Of 32 numbers: 16 bytes have the first 16 in their low halves, the others in their high halves. */
const halves = (codes: number, index: number): [byte: number, from: number] => [
  codes + (index % 16),
  index < 16 ? 0 : 4,
];

/** 32 numbers: codes of four bits, with a fifth in four bytes before them if `fifth` says where; offset or zero. */
function small(bits: 4 | 5, isOffset: boolean): Coder {
  const fifth = isOffset ? 4 : 2;
  const codes = bits === 5 ? fifth + 4 : fifth;
  const zero = 2 ** (bits - 1);
  const most = 2 ** bits - 1;
  const codeAt = (block: Buffer, index: number): number =>
    bitsAt(block, ...halves(codes, index), 4) +
    (bits === 5 ? 16 * bitsAt(block, fifth + Math.floor(index / 8), index % 8, 1) : 0);
  return {
    numbers: 32,
    bytes: codes + 16,
    encode(values, block) {
      const least = isOffset ? Math.min(...values) : 0;
      const range = isOffset ? (Math.max(...values) - least) / most : largest(values) / zero;
      const d = putScale(block, 0, range);
      const m = isOffset ? putScale(block, 2, least) : -zero * d;
      values.forEach((value, index) => {
        const code = clamped(over(value - m, d), 0, most);
        putBits(block, ...halves(codes, index), code % 16);
        if (bits === 5) putBits(block, fifth + Math.floor(index / 8), index % 8, Math.floor(code / 16));
      });
    },
    decode(block, index) {
      const d = scaleAt(block, 0);
      const code = codeAt(block, index);
      return isOffset ? d * code + scaleAt(block, 2) : d * (code - zero);
    },
  };
}

/** Where the six bits of a group's scale, or with `minimum` of its minimum, lie: runs of [byte, first bit, bits]. */
function sixBits(group: number, minimum: boolean): [number, number, number][] {
  if (group < 4) return [[4 + group + (minimum ? 4 : 0), 0, 6]];
  return [
    [8 + group, minimum ? 4 : 0, 4],
    [minimum ? 4 + group : group, 6, 2],
  ];
}
const joined = (block: Buffer, runs: [number, number, number][]): number =>
  runs.reduceRight((value, [byte, from, count]) => value * 2 ** count + bitsAt(block, byte, from, count), 0);
function putJoined(block: Buffer, runs: [number, number, number][], value: number): void {
  let rest = value;
  for (const [byte, from, count] of runs) {
    putBits(block, byte, from, rest % 2 ** count);
    rest = Math.floor(rest / 2 ** count);
  }
}

/** 256 numbers in groups of 32, each with a scale and a minimum. */
function grouped(bits: 4 | 5): Coder {
  const codes = bits === 5 ? 48 : 16;
  const most = 2 ** bits - 1;
  const place = (index: number): [number, number] => [
    codes + Math.floor(index / 64) * 32 + (index % 32),
    Math.floor(index / 32) % 2 === 0 ? 0 : 4,
  ];
  return {
    numbers: 256,
    bytes: codes + 128,
    encode(values, block) {
      const groups = groupsOf(values, 32);
      const minima = groups.map((group) => Math.max(0, -Math.min(...group)));
      const scales = groups.map((group, i) => (Math.max(...group, 0) + minima[i]!) / most);
      const d = putScale(block, 0, largest(scales) / 63);
      const e = putScale(block, 2, largest(minima) / 63);
      groups.forEach((group, i) => {
        const scale = clamped(over(scales[i]!, d), 0, 63);
        const minimum = clamped(over(minima[i]!, e), 0, 63);
        putJoined(block, sixBits(i, false), scale);
        putJoined(block, sixBits(i, true), minimum);
        group.forEach((value, j) => {
          const code = clamped(over(value + e * minimum, d * scale), 0, most);
          putBits(block, ...place(i * 32 + j), code % 16);
          if (bits === 5) putBits(block, 16 + j, i, Math.floor(code / 16));
        });
      });
    },
    decode(block, index) {
      const group = Math.floor(index / 32);
      const fifth = bits === 5 ? 16 * bitsAt(block, 16 + (index % 32), group, 1) : 0;
      const code = bitsAt(block, ...place(index), 4) + fifth;
      const scale = joined(block, sixBits(group, false));
      const minimum = joined(block, sixBits(group, true));
      return scaleAt(block, 0) * scale * code - scaleAt(block, 2) * minimum;
    },
  };
}

const q8_0: Coder = {
  numbers: 32,
  bytes: 34,
  encode(values, block) {
    const d = putScale(block, 0, largest(values) / 127);
    values.forEach((value, index) => block.writeInt8(clamped(over(value, d), -128, 127), 2 + index));
  },
  decode: (block, index) => scaleAt(block, 0) * block.readInt8(2 + index),
};

const q6_k: Coder = (() => {
  const low = (index: number): [number, number] => [
    Math.floor(index / 128) * 64 + (index % 64),
    index % 128 < 64 ? 0 : 4,
  ];
  const high = (index: number): [number, number] => [
    128 + Math.floor(index / 128) * 32 + (index % 32),
    (Math.floor(index / 32) % 4) * 2,
  ];
  return {
    numbers: 256,
    bytes: 210,
    encode(values, block) {
      const groups = groupsOf(values, 16);
      const scales = groups.map((group) => largest(group) / 32);
      const d = putScale(block, 208, largest(scales) / 127);
      groups.forEach((group, i) => {
        // Every third scale is negative, as they may be.
        const scale = clamped(over(scales[i]!, d), 0, 127) * (i % 3 === 0 ? -1 : 1);
        block.writeInt8(scale, 192 + i);
        group.forEach((value, j) => {
          const code = clamped(over(value, d * scale), -32, 31) + 32;
          putBits(block, ...low(i * 16 + j), code % 16);
          putBits(block, ...high(i * 16 + j), Math.floor(code / 16));
        });
      });
    },
    decode(block, index) {
      const code = bitsAt(block, ...low(index), 4) + 16 * bitsAt(block, ...high(index), 2);
      return scaleAt(block, 208) * block.readInt8(192 + Math.floor(index / 16)) * (code - 32);
    },
  };
})();

/** Of 256 numbers, where the two low bits of one lie among the codes: a byte has four that are 32 apart. */
const twoBits = (codes: number, index: number): [byte: number, from: number] => [
  codes + Math.floor(index / 128) * 32 + (index % 32),
  (Math.floor(index / 32) % 4) * 2,
];

const q2_k: Coder = {
  numbers: 256,
  bytes: 84,
  encode(values, block) {
    const groups = groupsOf(values, 16);
    const minima = groups.map((group) => Math.max(0, -Math.min(...group)));
    const scales = groups.map((group, i) => (Math.max(...group, 0) + minima[i]!) / 3);
    const d = putScale(block, 80, largest(scales) / 15);
    const e = putScale(block, 82, largest(minima) / 15);
    groups.forEach((group, i) => {
      const scale = clamped(over(scales[i]!, d), 0, 15);
      const minimum = clamped(over(minima[i]!, e), 0, 15);
      putBits(block, i, 0, scale);
      putBits(block, i, 4, minimum);
      group.forEach((value, j) => {
        const code = clamped(over(value + e * minimum, d * scale), 0, 3);
        putBits(block, ...twoBits(16, i * 16 + j), code);
      });
    });
  },
  decode(block, index) {
    const group = Math.floor(index / 16);
    const code = bitsAt(block, ...twoBits(16, index), 2);
    return (
      scaleAt(block, 80) * bitsAt(block, group, 0, 4) * code - scaleAt(block, 82) * bitsAt(block, group, 4, 4)
    );
  },
};

const q3_k: Coder = (() => {
  const sixBitsOf = (group: number): [number, number, number][] => [
    [96 + (group % 8), group < 8 ? 0 : 4, 4],
    [104 + (group % 4), Math.floor(group / 4) * 2, 2],
  ];
  const third = (index: number): [number, number] => [index % 32, Math.floor(index / 32)];
  return {
    numbers: 256,
    bytes: 110,
    encode(values, block) {
      const groups = groupsOf(values, 16);
      const d = putScale(block, 108, largest(values) / 4 / 31);
      groups.forEach((group, i) => {
        // Every third scale is negative, as they may be.
        const scale = clamped(over(largest(group) / 4, d), 0, 31) * (i % 3 === 0 ? -1 : 1);
        putJoined(block, sixBitsOf(i), scale + 32);
        group.forEach((value, j) => {
          const code = clamped(over(value, d * scale), -4, 3) + 4;
          putBits(block, ...twoBits(32, i * 16 + j), code % 4);
          putBits(block, ...third(i * 16 + j), Math.floor(code / 4));
        });
      });
    },
    decode(block, index) {
      const code = bitsAt(block, ...twoBits(32, index), 2) + 4 * bitsAt(block, ...third(index), 1);
      const scale = joined(block, sixBitsOf(Math.floor(index / 16))) - 32;
      return scaleAt(block, 108) * scale * (code - 4);
    },
  };
})();

/** What the codes of iq4_nl and iq4_xs stand for. */
const uneven = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
function nearest(value: number): number {
  const distances = uneven.map((each) => Math.abs(value - each));
  return distances.indexOf(Math.min(...distances));
}

const iq4_nl: Coder = {
  numbers: 32,
  bytes: 18,
  encode(values, block) {
    const d = putScale(block, 0, largest(values) / 113);
    values.forEach((value, index) => {
      putBits(block, ...halves(2, index), nearest(over(value, d)));
    });
  },
  decode: (block, index) => scaleAt(block, 0) * uneven[bitsAt(block, ...halves(2, index), 4)]!,
};

const iq4_xs: Coder = (() => {
  const sixBitsOf = (group: number): [number, number, number][] => [
    [4 + Math.floor(group / 2), (group % 2) * 4, 4],
    [2 + Math.floor(group / 4), (group % 4) * 2, 2],
  ];
  return {
    numbers: 256,
    bytes: 136,
    encode(values, block) {
      const d = putScale(block, 0, largest(values) / 113 / 31);
      groupsOf(values, 32).forEach((group, i) => {
        const scale = clamped(over(largest(group) / 113, d), 0, 31) * (i % 3 === 0 ? -1 : 1);
        putJoined(block, sixBitsOf(i), scale + 32);
        group.forEach((value, j) => {
          putBits(block, ...halves(8 + i * 16, j), nearest(over(value, d * scale)));
        });
      });
    },
    decode(block, index) {
      const group = Math.floor(index / 32);
      const code = bitsAt(block, ...halves(8 + group * 16, index % 32), 4);
      return scaleAt(block, 0) * (joined(block, sixBitsOf(group)) - 32) * uneven[code]!;
    },
  };
})();

const coders: Readonly<Record<BlockType, Coder>> = {
  q8_0,
  q4_0: small(4, false),
  q4_1: small(4, true),
  q5_0: small(5, false),
  q5_1: small(5, true),
  q2_k,
  q3_k,
  q4_k: grouped(4),
  q5_k: grouped(5),
  q6_k,
  iq4_nl,
  iq4_xs,
};

/** The blocks of these values, whose number is a multiple of a block's. */
export function encodeBlocks(type: BlockType, values: ArrayLike<number>): Buffer {
  const { numbers, bytes, encode } = coders[type];
  const blocks = Array.from({ length: values.length / numbers }, (_, i) => {
    const block = Buffer.alloc(bytes);
    encode(
      Array.from({ length: numbers }, (__, j) => values[i * numbers + j]!),
      block,
    );
    return block;
  });
  return Buffer.concat(blocks);
}

/** The numbers of whole blocks, rounded to f32. */
export function decodeBlocks(type: BlockType, data: Buffer): Float64Array {
  const { numbers, bytes, decode } = coders[type];
  const values = new Float64Array((data.length / bytes) * numbers);
  for (let i = 0; i < values.length; i++) {
    const begin = Math.floor(i / numbers) * bytes;
    values[i] = Math.fround(decode(data.subarray(begin, begin + bytes), i % numbers));
  }
  return values;
}
