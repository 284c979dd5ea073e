// child-unloading.ts FILE: only workers use the package, one after the other (see child-digest.ts). When one ends the
// system may unload the addon, while threads of its pool still run. Prints 'alive' after each.
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

async function main(path = ''): Promise<void> {
  const runner = join(__dirname, '../support/run-typescript.js');
  for (let i = 0; i < 3; i++) {
    const argv = [join(__dirname, '../model/child-digest.ts'), path, 'auto', '500'];
    const worker = new Worker(runner, { argv, stdout: true });
    worker.stdout.resume();
    const code = await new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('exit', resolve);
    });
    await setTimeout(50);
    process.stdout.write(code === 0 ? 'alive ' : `exit code ${String(code)} `);
  }
}

void main(process.argv[2]);
