import { join } from 'node:path';
import { WkvError } from './errors';
import { fromNative, native } from './native';
import { unpacked } from './unpacked';

/** An NVIDIA GPU. */
export interface CudaDevice {
  readonly name: string;
  /** As NVIDIA numbers architectures, for example '9.0'. */
  readonly computeCapability: string;
  /** In bytes. */
  readonly memory: number;
  readonly freeMemory: number;
}

/** The platforms that have a package with the library, and the library's file in it. */
const libraries: Readonly<Record<string, string>> = {
  'linux-x64': 'wkv-cuda.so',
  'win32-x64': 'wkv-cuda.dll',
};

/**
 * Where the library of the CUDA backend is: what the environment variable WKV_CUDA_LIBRARY names, or the file of the
 * package for this platform.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where there is none
 */
export function cudaLibrary(): string {
  const named = process.env['WKV_CUDA_LIBRARY'];
  if (named !== undefined && named !== '') return named;
  const platform = `${process.platform}-${process.arch}`;
  const file = libraries[platform];
  if (file === undefined) {
    throw new WkvError('ERR_WKV_DEVICE', `there is no CUDA backend for ${platform}`);
  }
  const name = `wkv-cuda-${platform}`;
  try {
    return unpacked(join(require.resolve(`${name}/package.json`), '..', file));
  } catch (cause) {
    throw new WkvError('ERR_WKV_DEVICE', `the CUDA backend is not installed: it is in the package ${name}`, {
      cause,
    });
  }
}

/**
 * The GPUs that the CUDA backend can use.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where there is none, or no library, or no driver
 */
export function cudaDevices(): CudaDevice[] {
  const library = cudaLibrary();
  try {
    return native.cudaDevices(library);
  } catch (error) {
    throw fromNative(error);
  }
}
