'use strict';

// Required before a command: tells its parent as soon as the command listens for SIGINT.
process.on('newListener', (event) => {
  if (event === 'SIGINT') setImmediate(() => process.send('listens'));
});
