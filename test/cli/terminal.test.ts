import { escaped, formatCount, printable } from '../../lib/cli/terminal';
import { formatBytes } from '../../lib/format-bytes';

describe('text on a terminal', () => {
  test('keeps letters of every language, tabs and newlines', () => {
    const text = 'Añ\t日本語 🦊\nعربي हिन्दी';
    expect(printable(text)).toBe(text);
  });

  test('never commands the terminal, nor turns the direction of a line around', () => {
    expect(printable('\u001b[2J\u0007\r\u007f\u009b\u202e\u2066')).toBe(
      '\\x1b[2J\\x07\\x0d\\x7f\\x9b\\u202e\\u2066',
    );
  });
});

describe('bytes on one line', () => {
  test.each([
    ['plain', Buffer.from('a é 世 🦊'), '"a é 世 🦊"'],
    ['control characters', Buffer.from('\0\t\n\r\u001b"\\'), '"\\x00\\t\\n\\r\\x1b\\"\\\\"'],
    ['half a character', Buffer.from('🦊').subarray(0, 3), '"\\xf0\\x9f\\xa6"'],
    [
      'a character after half of one',
      Buffer.concat([Buffer.from([0xe4, 0xb8]), Buffer.from('é')]),
      '"\\xe4\\xb8é"',
    ],
    ['bytes that are never UTF-8', Buffer.from([0xff, 0xc0, 0x80]), '"\\xff\\xc0\\x80"'],
    ['a byte order mark', Buffer.from('\ufeff'), '"\ufeff"'],
    ['nothing', Buffer.alloc(0), '""'],
  ])('%s', (_name, bytes, expected) => {
    expect(escaped(bytes)).toBe(expected);
  });
});

test.each([
  [0, '0 bytes'],
  [1023, '1023 bytes'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [15 * 2 ** 30, '15.0 GiB'],
  [3000 * 2 ** 40, '3000.0 TiB'],
])('%d bytes are written as %s', (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected);
});

test('large counts are written with commas', () => {
  expect(formatCount(7_518_044_160)).toBe('7,518,044,160');
});
