/** The largest |a[i] - b[i]|; NaN where either has one, which no tolerance accepts. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) {
    throw new RangeError(`${a.length} numbers beside ${b.length}`);
  }
  const { abs, max } = Math;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    largest = max(largest, abs((a[i] ?? NaN) - (b[i] ?? NaN)));
  }
  return largest;
}

/** Whether two arrays hold the same bits: unlike ==, this tells 0 from -0 and takes NaN for itself. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

/** The bytes of a typed array, not copied. */
export function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}
