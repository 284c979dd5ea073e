declare module 'node-gyp-build' {
  /** Loads the addon of the package in `directory`. */
  function load(directory: string): unknown;
  namespace load {
    /** The file that `load` would load. */
    function resolve(directory: string): string;
  }
  export = load;
}
