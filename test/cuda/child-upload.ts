// child-upload.ts FILE: prints by how much loading a model on a GPU raised the most that the process ever had resident,
// and how much of the GPU's memory the model takes, which a simulated GPU has from the process. In bytes.
import { readFileSync } from 'node:fs';
import { kernels, loadModel } from '../../lib/index';

function freeOnGpu(): number {
  const { cuda } = kernels.features();
  if (!cuda.available) throw new Error(cuda.reason);
  return cuda.devices[0]!.freeMemory;
}

/** In bytes. What getrusage says begins with what the parent had. */
function peakResident(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1024;
}

async function main(path = ''): Promise<void> {
  const free = freeOnGpu();
  const before = process.memoryUsage.rss();
  const model = await loadModel(path, { device: 'cuda', threads: 2 });
  const grown = peakResident() - before;
  process.stdout.write(JSON.stringify({ grown, onGpu: free - freeOnGpu() }));
  await model.dispose();
}

void main(...process.argv.slice(2));
