import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The library of the CUDA backend with a simulated GPU in it; `npm run check` builds it, npm has nothing of it. */
export const simulatedCuda = join(__dirname, '../../out/gcc/build/wkv-cuda-simulated.so');

/** Why tests on it are skipped, or false. */
export const withoutSimulatedCuda: string | false =
  !existsSync(simulatedCuda) && 'there is no out/gcc/build/wkv-cuda-simulated.so, which npm run check builds';

/** Calls `body` with this value of WKV_CUDA_LIBRARY, or without the variable. */
export async function withCudaLibrary<T>(
  library: string | undefined,
  body: () => T | Promise<T>,
): Promise<T> {
  const before = process.env['WKV_CUDA_LIBRARY'];
  const set = (value: string | undefined): void => {
    if (value === undefined) delete process.env['WKV_CUDA_LIBRARY'];
    else process.env['WKV_CUDA_LIBRARY'] = value;
  };
  set(library);
  try {
    return await body();
  } finally {
    set(before);
  }
}
