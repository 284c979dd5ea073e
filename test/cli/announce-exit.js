'use strict';

// Required before a command: says on standard error that its exit handlers run, and how often it wrote until then.
let writes = 0;
const { write } = process.stdout;
process.stdout.write = (...parameters) => {
  writes++;
  return write.apply(process.stdout, parameters);
};
process.on('exit', () => process.stderr.write(`exits after ${writes} writes\n`));
