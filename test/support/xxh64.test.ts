import { xxh64 } from './xxh64';

describe('xxh64', () => {
  test.each([
    // From the test vectors of the xxHash project.
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['abc', 0x44bc2cf5ad770999n],
  ])('of %j is as published', (text, expected) => {
    expect(xxh64(Buffer.from(text))).toBe(expected);
  });
});
