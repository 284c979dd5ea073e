// child-upload.ts FILE: prints by how much loading a model on a GPU raised the most that the process ever had resident,
// and how much of the GPU's memory the model takes, which a simulated GPU has from the process. In bytes.
import { kernels, loadModel } from '../../lib/index';

function freeOnGpu(): number {
  const { cuda } = kernels.features();
  if (!cuda.available) throw new Error(cuda.reason);
  return cuda.devices[0]!.freeMemory;
}

async function main(path = ''): Promise<void> {
  const free = freeOnGpu();
  const before = process.memoryUsage.rss();
  const model = await loadModel(path, { device: 'cuda', threads: 2 });
  // maxRSS is in KiB.
  const grown = process.resourceUsage().maxRSS * 1024 - before;
  process.stdout.write(JSON.stringify({ grown, onGpu: free - freeOnGpu() }));
  await model.dispose();
}

void main(...process.argv.slice(2));
