import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Ended } from '../support/model';

const root = resolve(__dirname, '../..');

/** The blocks of code of a page. */
export function blocksOf(page: string): { language: string; code: string }[] {
  return [...page.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
    language,
    code,
  }));
}

/** Those in JavaScript. */
export function examplesOf(page: string): string[] {
  return blocksOf(page)
    .filter(({ language }) => language === 'js')
    .map(({ code }) => code);
}

/** Makes a project of a folder that depends on the package, as it was built. */
export function makeProject(folder: string): void {
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/wkv'), 'junction');
}

/** Runs code as a file of the folder. */
export function runExample(folder: string, name: string, code: string): Promise<Ended> {
  writeFileSync(join(folder, name), code);
  const child = spawn(process.execPath, [name], {
    cwd: folder,
    // jest sets it at a terminal.
    env: { ...process.env, FORCE_COLOR: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((done) => {
    child.on('close', (status) => done({ code: status, stdout, stderr }));
  });
}

/** What the comments of an example say that it prints. */
export function promisedBy(code: string): string[] {
  return [...code.matchAll(/ \/\/ → (.*)$/gm)].map(([, line = '']) => line);
}
