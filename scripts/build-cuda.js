'use strict';

require('./lib/require-node').requireNode();

const { buildCuda } = require('./lib/cuda');
const { runScript } = require('./lib/run');

const help = `Usage: npm run build:cuda

Builds the library of the CUDA backend for all architectures into packages/cuda-PLATFORM-x64, with nvcc 13: on Linux, or
on Windows with Microsoft's compiler in the PATH, where it was never run.
Refuses kernels that spill registers, and a library of more than 10 MB. Takes some minutes.`;

async function main(names) {
  if (names.length > 0) {
    console.log(help);
    process.exitCode = names[0] === '--help' ? 0 : 2;
    return;
  }
  await buildCuda();
}

void runScript(main);
