import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { loadModel } from '../../lib/index';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';
import { writeEmptyModel } from '../support/empty-model';
import { unfinished } from '../support/packed';
import { writePth } from '../support/pth-writer';
import { randomModel } from '../support/random-model';
import { onWindows, unless } from '../support/unless';
import { expectFailure, expectInterrupted, json, startListening, wkv } from './support';

const folder = temporaryFolder();
let source: string;
beforeAll(async () => {
  source = await writeRandomModel(folder, 'source');
});

let places = 0;
function place(): string {
  const path = join(folder, `place-${places++}`);
  mkdirSync(path);
  return path;
}

const testSignal = unless(onWindows('Windows has no signals for children'));
const testLimit = unless(onWindows('Windows has no ulimit'));

describe('wkv convert', () => {
  test('packs a model and says what it wrote', async () => {
    const packed = join(place(), 'a.safetensors');
    const { code, stdout, stderr } = await wkv(['convert', source, packed, '--weights', 'int8']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(String(stdout)).toMatch(/a\.safetensors: int8, \d+\.\d KiB\n$/);
    expect(await withModel(packed, {}, ({ info }) => info.weights)).toBe('int8');
  });

  test('says it as JSON', async () => {
    const path = join(place(), 'a.safetensors');
    const outcome = await wkv(['convert', '--json', '--threads', '1', source, path]);
    const fingerprint = await withModel(source, {}, ({ info }) => info.fingerprint);
    expect(json(outcome)).toEqual({ path, weights: 'int8', bytes: statSync(path).size, fingerprint });
  });

  test('writes a plain file, too, which the other commands take', async () => {
    const path = join(place(), 'a.safetensors');
    const { code, stdout, stderr } = await wkv(['convert', source, path, '--weights', 'bf16']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(String(stdout)).toMatch(/a\.safetensors: bf16, \d+\.\d KiB\n$/);
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({
      ...{ format: 'safetensors', storedAs: 'bf16' },
    });
    const again = await wkv(['convert', '--force', '--json', '--weights', 'f32', source, path]);
    expect(json(again)).toEqual({ path, weights: 'f32', bytes: statSync(path).size });
  });

  test('says what to do where what is compressed cannot be unpacked', async () => {
    const compressed = join(place(), 'compressed.pth');
    await writePth(compressed, randomModel(smallShape), { compression: 'deflated' });
    const nowhere = { TMPDIR: join(folder, 'absent'), TEMP: join(folder, 'absent') };
    // The first writes what TypeScript is translated to: the translator itself needs such a folder.
    await wkv(['convert', compressed, join(place(), 'a.safetensors')]);
    const path = join(place(), 'a.safetensors');
    expectFailure(
      await wkv(['convert', compressed, path], { environment: nowhere }),
      /cannot be unpacked into .*absent: ENOENT.* Set (TMPDIR|TEMP) to a directory that can be written to/,
    );
    expect(existsSync(path)).toBe(false);
  });

  test('replaces a file with --force alone', async () => {
    const path = join(place(), 'a.safetensors');
    writeFileSync(path, 'precious');
    expectFailure(await wkv(['convert', source, path]), /it exists; .*wkv convert --force/);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect((await wkv(['convert', '--force', source, path])).code).toBe(0);
    await (await loadModel(path)).dispose();
  });

  test('says in one paragraph why it cannot', async () => {
    const nowhere = join(place(), 'none', 'a.safetensors');
    expectFailure(
      await wkv(['convert', source, nowhere]),
      /none.a\.safetensors: cannot be written: there is no such directory/,
    );
    expectFailure(await wkv(['convert', source, join(source, 'a')]), /a: cannot be written: /);
    expectFailure(await wkv(['convert', join(folder, 'missing.pth'), nowhere]), /no such file/);
    const itself = join(place(), 'a.safetensors');
    copyFileSync(source, itself);
    expectFailure(await wkv(['convert', '--force', itself, itself]), /is a file of the model/);
  });

  test('makes a file that the other commands take', async () => {
    const packed = join(place(), 'a.safetensors');
    await wkv(['convert', source, packed]);
    const report = json(await wkv(['inspect', '--json', packed]));
    const parameters = await withModel(source, {}, ({ info }) => info.parameters);
    expect(report).toMatchObject({
      ...{ format: 'packed safetensors', storedAs: 'int8', auto: 'int8', parameters },
      choices: [{ weights: 'int8', fits: true }],
    });
    const { int8, f32 } = report['stored'] as Record<string, number>;
    // Everything but blocks is f32 in the small model; the header fills pages.
    expect(statSync(packed).size % 4096).toBe((int8! + f32!) % 4096);
    const words = String((await wkv(['inspect', packed])).stdout);
    expect(words).toMatch(/^file .*\(packed safetensors, \d+\.\d KiB\)$/m);
    expect(words).toMatch(/^int8 \(as stored\) \(auto\) +\d+\.\d KiB +yes/m);

    const generate = async (options: readonly string[]): Promise<unknown> => {
      const fixed = ['--temperature', '0', '--max-tokens', '8', '--json', 'Once'];
      return json(await wkv(['generate', ...options, ...fixed]))['tokens'];
    };
    expect(await generate(['-m', packed])).toEqual(await generate(['-m', source, '--weights', 'int8']));
    expectFailure(await wkv(['generate', '-m', packed, '--weights', 'f32', 'a']), /packed as int8/);
  });

  testSignal('that is interrupted leaves nothing', async () => {
    const large = join(folder, 'large.safetensors');
    writeEmptyModel(large, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
    // Where this process waits for a processor until all is converted, it tries again.
    for (let tries = 0; tries < 10; tries++) {
      const path = place();
      const { child, ended } = await startListening(['convert', large, join(path, 'a.safetensors')]);
      const over = ended.then(() => true);
      while (unfinished(path).length === 0) if (await Promise.race([over, wait(5, false)])) break;
      child.kill('SIGINT');
      const outcome = await ended;
      // It says so when the file is there.
      if (outcome.stdout.length > 0) {
        rmSync(path, { recursive: true });
        continue;
      }
      expectInterrupted(outcome);
      expect(readdirSync(path)).toEqual([]);
      return;
    }
    throw new Error('every conversion ended before it was interrupted');
  });

  testLimit('that finds no room says so and leaves nothing', async () => {
    const path = place();
    const program = [
      join(__dirname, '../support/run-typescript.js'),
      join(__dirname, '../../lib/cli/main.ts'),
    ];
    const parameters = [...program, 'convert', source, join(path, 'a.safetensors')];
    // 64 blocks of 512 bytes or of 1 KiB; the packed file takes more.
    const limited = ['-c', 'ulimit -f 64; exec "$0" "$@"', process.execPath, ...parameters];
    // What TypeScript is translated to is written before.
    execFileSync(process.execPath, [...program, 'convert', '--help']);
    await wkv(['convert', source, join(place(), 'a')]);
    const child = spawn('sh', limited, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
    await once(child, 'close');
    expect({ code: child.exitCode, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: .*a\.safetensors: cannot be written: [^\n]+\n$/) as string,
    });
    expect(readdirSync(path)).toEqual([]);
  });
});
