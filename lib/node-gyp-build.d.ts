declare module 'node-gyp-build' {
  /** Loads the addon of the package in `directory`. */
  function load(directory: string): unknown;
  export = load;
}
