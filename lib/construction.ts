/** What the package gives its own constructors, and nobody else has. */
export const ownConstruction = Symbol('wkv');

/** Refuses a constructor's call from outside, which has nothing that the object could be made of. */
export function checkConstruction(given: unknown, name: string, instead: string): void {
  if (given === ownConstruction) return;
  throw Object.assign(new TypeError(`${name} has no constructor for callers: ${instead}`), {
    code: 'ERR_ILLEGAL_CONSTRUCTOR',
  });
}
