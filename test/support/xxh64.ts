const primes: readonly [bigint, bigint, bigint, bigint, bigint] = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
];
const [p1, p2, p3, p4, p5] = primes;

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => u64(value << bits) | (u64(value) >> (64n - bits));
const round = (accumulator: bigint, lane: bigint): bigint =>
  u64(rotate(u64(accumulator + lane * p2), 31n) * p1);

/** XXH64 with seed 0 (xxHash specification 0.1.1), the checksum of serialized states. */
export function xxh64(bytes: Uint8Array): bigint {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = 0;
  let hash = p5;
  if (buffer.length >= 32) {
    let lanes = [p1 + p2, p2, 0n, -p1].map(u64);
    for (; position + 32 <= buffer.length; position += 32) {
      const start = position;
      lanes = lanes.map((lane, i) => round(lane, buffer.readBigUInt64LE(start + 8 * i)));
    }
    const turns = [1n, 7n, 12n, 18n];
    hash = u64(lanes.reduce((sum, lane, i) => sum + rotate(lane, turns[i] ?? 0n), 0n));
    for (const lane of lanes) {
      hash = u64((hash ^ round(0n, lane)) * p1 + p4);
    }
  }
  hash = u64(hash + BigInt(buffer.length));
  for (; position + 8 <= buffer.length; position += 8) {
    hash = u64(rotate(hash ^ round(0n, buffer.readBigUInt64LE(position)), 27n) * p1 + p4);
  }
  if (position + 4 <= buffer.length) {
    hash = u64(rotate(hash ^ u64(BigInt(buffer.readUInt32LE(position)) * p1), 23n) * p2 + p3);
    position += 4;
  }
  for (; position < buffer.length; position++) {
    hash = u64(rotate(hash ^ u64(BigInt(buffer.readUInt8(position)) * p5), 11n) * p1);
  }
  hash = u64((hash ^ (hash >> 33n)) * p2);
  hash = u64((hash ^ (hash >> 29n)) * p3);
  return hash ^ (hash >> 32n);
}
