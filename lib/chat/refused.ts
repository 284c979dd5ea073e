import { WkvError } from '../errors';

/** Says why bytes are no saved conversation. */
export function refused(
  reason: string,
  details: { expected?: string; found?: string; cause?: unknown } = {},
): WkvError {
  return new WkvError(
    'ERR_WKV_STATE',
    `these bytes are no conversation of wkv that can be read: ${reason}`,
    details,
  );
}
