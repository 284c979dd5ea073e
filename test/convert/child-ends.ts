import { parentPort } from 'node:worker_threads';
import { convertModel } from '../../lib/index';

// child-ends.ts INPUT OUTPUT: while the conversion is under way, exits, or as a worker says that it is.
const [input = '', output = ''] = process.argv.slice(2);
void convertModel(input, output, {
  weights: 'int8',
  onProgress: () => {
    if (parentPort === null) process.exit(0);
    parentPort.postMessage('converting');
  },
});
