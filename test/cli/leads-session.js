'use strict';

// node leads-session.js FILE COMMAND [ARGUMENT...]: runs a command at its terminal, hands on to it that the terminal is
// gone, as a shell does, and writes into the file by which signal, or with which code, it ended.
const { spawn } = require('node:child_process');
const { writeFileSync } = require('node:fs');

const [, , file, command, ...parameters] = process.argv;
const child = spawn(command, parameters, { stdio: 'inherit' });
process.on('SIGHUP', () => child.kill('SIGHUP'));
child.on('exit', (code, signal) => {
  writeFileSync(file, String(signal ?? code));
  process.kill(process.pid, 'SIGKILL');
});
