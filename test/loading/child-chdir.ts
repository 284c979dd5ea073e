// child-chdir.ts FILE FOLDER: loads this compressed model in this working directory, and changes that once the model is
// being unpacked.
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { loadModel } from '../../lib/index';

async function main(path = '', folder = ''): Promise<void> {
  process.chdir(folder);
  const loading = loadModel(path);
  // In each turn of the event loop: unpacking and reading take several.
  const watch = (): void => {
    if (readdirSync(tmpdir()).length === 0) setImmediate(watch);
    else process.chdir(dirname(__dirname));
  };
  watch();
  const model = await loading;
  if (process.cwd() !== dirname(__dirname)) throw new Error('it was loaded too soon');
  await model.dispose();
  process.stdout.write('loaded');
}

void main(...process.argv.slice(2));
