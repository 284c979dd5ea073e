import { WkvError } from './errors';

/** The error where a bundler has put the package's JavaScript into a file of its own. */
export function bundledError(): WkvError {
  return new WkvError(
    'ERR_WKV_DEVICE',
    'wkv has become part of a bundle, but its binary, its model and its vocabulary are files that it finds from where ' +
      'its own JavaScript lies: leave the package out of the bundle (esbuild: --external:wkv; webpack: externals: ' +
      "{ wkv: 'node-commonjs wkv' }) and install it where the bundle runs.",
  );
}

// The first module that dist/index.js loads. In a bundle that is an ES module there is no __dirname, and whatever the
// next modules require of Node would fail with a message that helps nobody.
const directory: string | undefined = typeof __dirname === 'string' ? __dirname : undefined;
if (directory === undefined) throw bundledError();
