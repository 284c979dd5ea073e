import { columnsOf, WordWrap } from '../../lib/cli/word-wrap';

describe('the columns of a text', () => {
  test.each([
    ['', 0],
    ['fox', 3],
    ['狐狸。', 6],
    ['カタカナ', 8],
    ['한국어', 6],
    ['한'.normalize('NFD'), 2],
    ['🇳🇴🇯🇵', 4],
    ['é', 1],
    ['e\u0301', 1],
    ['🦊', 2],
    ['❤', 1],
    ['❤️', 2],
    ['👩‍🚀', 2],
    ['👍🏽', 2],
    ['हिन्दी', 5],
    ['\u001b[2mfox\u001b[22m', 3],
  ])('%s takes %i', (text, columns) => {
    expect(columnsOf(text)).toBe(columns);
  });
});

describe('a text of 10 columns', () => {
  test.each([
    ['short', 'short'],
    ['one two three', 'one two\nthree'],
    ['one two three four', 'one two\nthree four'],
    ['1234567890 1234567890 1', '1234567890\n1234567890\n1'],
    ['a  b\n    if x:', 'a  b\n    if x:'],
    ['a much-too-long-word', 'a\nmuch-too-long-word'],
    ['much-too-long-word a', 'much-too-long-word\na'],
    ['狐狸住在老桥下面。他很快乐', '狐狸住在老\n桥下面。他\n很快乐'],
    ['狐狸住在桥。他', '狐狸住在\n桥。他'],
    ['a fox 🦊🦊 b', 'a fox 🦊🦊\nb'],
    ['12345678 👩‍🚀', '12345678\n👩‍🚀'],
    ['ends with a space ', 'ends with\na space '],
    ['two\n\nparagraphs', 'two\n\nparagraphs'],
  ])('%j breaks between words, in whatever pieces it comes', (text, expected) => {
    for (const pieces of [[text], Array.from(text), text.match(/.{1,3}/gsu) ?? []]) {
      const wrap = new WordWrap(() => 10);
      expect(pieces.map((piece) => wrap.push(piece)).join('') + wrap.end()).toBe(expected);
    }
  });

  test('is written as soon as its words are complete', () => {
    const wrap = new WordWrap(() => 10);
    expect(['He', 'llo', ' ', 'world', '!\n', '你', '好', '。'].map((piece) => wrap.push(piece))).toEqual([
      ...['', '', 'Hello', '', '\nworld!\n'],
      ...['', '你', ''],
    ]);
    expect(wrap.end()).toBe('好。');
  });
});
