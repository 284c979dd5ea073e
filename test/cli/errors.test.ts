import { explain } from '../../lib/cli/errors';
import { WkvError } from '../../lib/index';

test('An error says once what it is about: only what its message does not have comes after it', () => {
  const details = { path: '/a.pth', tensor: 'emb.weight', expected: '[4]', found: '[3]' };
  const error = new WkvError('ERR_WKV_SHAPE', '/a.pth: emb.weight is too short', details);
  expect(explain(error)).toBe('error: /a.pth: emb.weight is too short (expected: [4]; found: [3])\n');
});
