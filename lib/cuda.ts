import { join } from 'node:path';
import type { Device } from './device';
import { WkvError } from './errors';
import { callNative, native, type CudaTarget } from './native';
import { unpacked } from './unpacked';

/** An NVIDIA GPU that models can be on. */
export interface CudaDevice {
  /** What `loadModel` calls it: 'cuda:0' and so on. */
  readonly device: `cuda:${number}`;
  /** What its driver calls it. */
  readonly name: string;
  /** As NVIDIA numbers architectures, for example '9.0'. */
  readonly computeCapability: string;
  /** In bytes. */
  readonly memory: number;
  /** How much of it was free when it was asked for, in bytes. */
  readonly freeMemory: number;
}

/** One that they cannot be on, as the backend has no code for it or it does not answer. */
export interface UnusableCudaDevice {
  /** What `loadModel` would call it. */
  readonly device: `cuda:${number}`;
  /** Why they cannot be on it, in words. */
  readonly reason: string;
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
function cudaLibrary(): string {
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
 * All GPUs, or the one of this name. One by one, as CUDA takes some memory of each GPU that it is asked about, for as
 * long as the process lives.
 */
function* foundDevices(name?: string): Generator<CudaDevice | UnusableCudaDevice, void, undefined> {
  const library = cudaLibrary();
  const count = callNative(() => native.cudaDeviceCount(library));
  for (let index = 0; index < count; index++) {
    const device: CudaDevice['device'] = `cuda:${index}`;
    if (name !== undefined && name !== device) continue;
    yield { device, ...callNative(() => native.cudaDevice(library, index)) };
  }
}

const isUsable = (found: CudaDevice | UnusableCudaDevice): found is CudaDevice => !('reason' in found);

/**
 * The GPUs that the CUDA backend can use, and those that it cannot.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where there is none that it can use, or no library, or no driver
 */
export function cudaDevices(): { devices: CudaDevice[]; unusable: UnusableCudaDevice[] } {
  const devices: CudaDevice[] = [];
  const unusable: UnusableCudaDevice[] = [];
  for (const found of foundDevices()) {
    if (isUsable(found)) devices.push(found);
    else unusable.push(found);
  }
  if (devices.length === 0) {
    const [first, ...others] = unusable;
    const reasons = unusable.map(({ device, reason }) => `${device}: ${reason}`);
    const reason = others.length === 0 ? first?.reason : reasons.join('; ');
    throw new WkvError('ERR_WKV_DEVICE', reason ?? 'there is no NVIDIA GPU on this machine');
  }
  return { devices, unusable };
}

/** A GPU as the addon takes it, and what it is. */
function gpuOf({ device, name, computeCapability, freeMemory }: CudaDevice) {
  const target: CudaTarget = { library: cudaLibrary(), device: Number(device.slice('cuda:'.length)) };
  return { target, name: `${name}, compute capability ${computeCapability}`, freeMemory };
}

export type Gpu = ReturnType<typeof gpuOf>;

/** The GPUs that can be used; none where there is no library, no driver, or no GPU. */
export function* usableGpus(): Generator<Gpu, void, undefined> {
  try {
    for (const found of foundDevices()) if (isUsable(found)) yield gpuOf(found);
  } catch (error) {
    if (!(error instanceof WkvError)) throw error;
  }
}

/**
 * The GPU that is meant; undefined for 'cpu' and 'auto'.
 *
 * @throws {WkvError} `ERR_WKV_DEVICE` where it cannot be used
 */
export function chooseGpu(device: Device = 'auto'): Gpu | undefined {
  if (device === 'auto' || device === 'cpu') return undefined;
  for (const found of foundDevices(device === 'cuda' ? undefined : device)) {
    if (isUsable(found)) return gpuOf(found);
  }
  const { devices, unusable } = cudaDevices();
  const names = devices.map((each) => `${each.device} (${each.name})`).join(', ');
  const reason = unusable.find((each) => each.device === device)?.reason ?? `there is no device '${device}'`;
  throw new WkvError('ERR_WKV_DEVICE', `${reason}; there is ${names}`);
}
