'use strict';

// node leads-session.js FILE DELAY COMMAND [ARGUMENT...]: runs a command at its terminal, hands on to it that the
// terminal is gone, as a shell does, after so many milliseconds, and writes into the file how it ended.
const { spawn } = require('node:child_process');
const { renameSync, writeFileSync } = require('node:fs');
const { setTimeout } = require('node:timers');

const [, , file, delay, command, ...parameters] = process.argv;
const child = spawn(command, parameters, { stdio: 'inherit' });
process.on('SIGHUP', () => setTimeout(() => child.kill('SIGHUP'), Number(delay)));
child.on('exit', (code, signal) => {
  // Whole from the beginning: it is waited for.
  writeFileSync(`${file}.unfinished`, String(signal ?? code));
  renameSync(`${file}.unfinished`, file);
  process.kill(process.pid, 'SIGKILL');
});
