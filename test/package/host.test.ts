import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { addonPath } from '../../lib/addon';
import { run, temporaryFolder } from './support';

const folder = temporaryFolder();

/** Loads the addon in the main thread and in four workers at once; prints what each found in it. */
const program = `
  const { Worker } = require('node:worker_threads');
  const addon = ${JSON.stringify(addonPath())};
  const source = 'const { features } = require(' + JSON.stringify(addon) + '); console.log(features().isa.length > 0);';
  eval(source);
  for (let i = 0; i < 4; i++) new Worker(source, { eval: true });`;
const loaded = { status: 0, output: 'true\n'.repeat(5) };

describe('the addon loads, in several workers too,', () => {
  test('in Node', () => {
    expect(run(process.execPath, ['-e', program])).toEqual(loaded);
  });

  // On Windows Node-API is imported from "node.exe" by name: in Electron, say, a program with another name means itself.
  test('in a program that is not called node', () => {
    const host = join(folder, process.platform === 'win32' ? 'host.exe' : 'host');
    copyFileSync(process.execPath, host);
    expect(run(host, ['-e', program])).toEqual(loaded);
  });
});
