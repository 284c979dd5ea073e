'use strict';

// Required before a command: tells its parent when standard output takes no more until somebody reads it, and when a
// Ctrl-C has been dealt with.
const { write } = process.stdout;
process.stdout.write = (...parameters) => {
  const result = write.apply(process.stdout, parameters);
  if (process.stdout.writableLength > 0) process.send('waits');
  return result;
};
const { emit } = process;
process.emit = (event, ...parameters) => {
  const result = emit.call(process, event, ...parameters);
  if (event === 'SIGINT') process.send('interrupted');
  return result;
};
