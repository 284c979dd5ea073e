import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { measure, spreadOf } from '../../lib/cli/measurements';
import { Model } from '../../lib/model';
import { native } from '../../lib/native';
import { Session } from '../../lib/session';
import { smallShape, temporaryFolder, withModel, writeRandomModel } from '../support/model';
import { simulatedCuda, withoutSimulatedCuda } from '../support/cuda';
import { writeEmptyModel } from '../support/empty-model';
import { randomModel } from '../support/random-model';
import { onWindows, underEmulator, unless, withoutMemory } from '../support/unless';
import { expectFailure, expectInterrupted, json, startListening, testWithDemoModel, wkv } from './support';

const folder = temporaryFolder();
const numbersOf = (tensors: ReturnType<typeof randomModel>): number =>
  tensors.reduce((sum, { data }) => sum + data.length, 0);

interface Spread {
  lower: number;
  median: number;
  upper: number;
}

/** A spread of measurements: in order, and more than nothing. */
function expectMeasured(spread: unknown): void {
  const { lower, median, upper } = spread as Spread;
  expect(lower).toBeGreaterThan(0);
  expect(median).toBeGreaterThanOrEqual(lower);
  expect(upper).toBeGreaterThanOrEqual(median);
}

describe('wkv bench', () => {
  test('measures a model, as JSON', async () => {
    const path = await writeRandomModel(folder, 'model', smallShape);
    const outcome = await wkv(['bench', '--model', path, '--rounds', '2', '--threads', '2', '--json']);
    expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code: 0, stderr: '' });
    const report = json(outcome);
    const { layers, embedding, headSize, vocabulary } = smallShape;
    // Per layer att_x and ffn_x [embedding], and wkv [heads][head size][head size], in float32.
    const stateBytes = 4 * layers * (2 * embedding + embedding * headSize);
    expect(report).toMatchObject({
      path,
      architecture: 'rwkv5',
      version: '5.2',
      parameters: numbersOf(randomModel(smallShape)),
      weights: 'f32',
      stateBytes,
      threads: 2,
      rounds: 2,
      isa: native.features().selected,
      ceilings: { readBytesPerSecond: null, arithmetic: 'f32' },
      decode: { ofRead: null },
      prompt: { tokens: 128 },
      together: { sessions: 16 },
    });
    // All weights but the embedding, of which one row is read.
    expect(report['bytesPerToken']).toBe(Number(report['weightBytes']) - 4 * (vocabulary - 1) * embedding);
    const { decode, prompt, together, ceilings, memory } = report as Record<string, Record<string, unknown>>;
    for (const spread of [
      decode!['tokensPerSecond'],
      decode!['bytesPerSecond'],
      prompt!['tokensPerSecond'],
      prompt!['operationsPerSecond'],
      prompt!['ofPeak'],
      together!['tokensPerSecond'],
      together!['timesOne'],
      ceilings!['operationsPerSecond'],
    ])
      expectMeasured(spread);
    const { median: tokens } = decode!['tokensPerSecond'] as Spread;
    const { median: bytes } = decode!['bytesPerSecond'] as Spread;
    expect(bytes / tokens / Number(report['bytesPerToken'])).toBeCloseTo(1, 9);
    const { median: prompted } = prompt!['tokensPerSecond'] as Spread;
    const { median: operations } = prompt!['operationsPerSecond'] as Spread;
    // A product and a sum for each number but those of the embedding and of the head.
    const numbers = Number(report['parameters']) - 2 * vocabulary * embedding;
    expect(operations / prompted / numbers).toBeCloseTo(2, 9);
    expect(memory!['residentBytes']).toBe(Number(memory!['overWeightBytes']) + Number(report['weightBytes']));
  });

  unless(withoutSimulatedCuda)('measures a model on a (simulated) GPU, without ceilings', async () => {
    const path = await writeRandomModel(folder, 'gpu', smallShape);
    const parameters = ['bench', '-m', path, '--device', 'cuda', '--rounds', '1'];
    const environment = { WKV_CUDA_LIBRARY: simulatedCuda };
    const report = json(await wkv([...parameters, '--json'], { environment }));
    expect(report).toMatchObject({
      device: 'cuda:0',
      isa: expect.stringContaining('Simulated GPU') as string,
      weights: 'int8',
      ceilings: { readBytesPerSecond: null, operationsPerSecond: null },
      decode: { ofRead: null },
      prompt: { ofPeak: null },
      memory: { overWeightBytes: null },
    });
    const { stdout } = await wkv(parameters, { environment });
    expect(stdout.toString()).toMatch(/how fast a GPU reads its memory is not measured here/);
    expect(stdout.toString()).toMatch(/in use beside the GPU's/);
  });

  test('puts int8 beside what the processor does with bytes', async () => {
    const path = await writeRandomModel(folder, 'bytes', smallShape);
    const report = json(await wkv(['bench', '-m', path, '--weights', 'int8', '--rounds', '1', '--json']));
    expect(report).toMatchObject({ weights: 'int8', ceilings: { arithmetic: 'int8' } });
    const { ceilings, prompt } = report as Record<string, Record<string, unknown>>;
    const known = (await native.measurePeak('int8', 1)) > 0;
    expect(ceilings!['operationsPerSecond'] !== null).toBe(known);
    expect(prompt!['ofPeak'] !== null).toBe(known);
  });

  unless(underEmulator)('puts a model that has to come from memory beside the memory', async () => {
    const path = join(folder, 'large.safetensors');
    writeEmptyModel(path, { layers: 2, embedding: 2048, feedForward: 7168, vocabulary: 256 });
    const { code, stdout } = await wkv(['bench', '--model', path, '--weights', 'f32', '--rounds', '1']);
    expect(code).toBe(0);
    expect(String(stdout)).toMatch(
      /^decoding, one session +[\d,.]+ tokens\/s +\[.*\] +[\d.]+ GB\/s of weights(: [\d.]+ of the [\d.]+ that (1 thread reads|\d+ threads read)|; the memory was not measured: too little is free)$/m,
    );
  });

  const inWords = withoutMemory === false ? testWithDemoModel : unless(withoutMemory);
  inWords('says it in words, of the embedded model where none is named', async () => {
    const { code, stdout, stderr } = await wkv(['bench', '--rounds', '1', '--threads', '1']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const text = String(stdout);
    expect(text).toMatch(/^model +.*wkv-demo\.pth: RWKV 5\.2, [\d,]+ parameters$/m);
    expect(text).toMatch(/^weights +f32, [\d.]+ MiB$/m);
    expect(text).toMatch(/^memory +[\d.]+ MiB in use, [\d.]+ MiB over the weights$/m);
    expect(text).toMatch(/^session +[\d.]+ KiB of state, however long the text$/m);
    expect(text).toMatch(/^measured +1 round, \w+, 1 thread$/m);
    expect(text).toMatch(/^decoding, one session +[\d,.]+ tokens\/s .*not set by memory/m);
    expect(text).toMatch(
      /^prompt of 128 tokens +[\d,.]+ tokens\/s .*billion operations\/s: [\d.]+ of the [\d.]+ that f32 can do$/m,
    );
    expect(text).toMatch(/^16 sessions together +[\d,.]+ tokens\/s .* [\d.]+ times one session$/m);
    expect(text).not.toMatch(/NaN|undefined|null/);
    expect(text).not.toContain('\u001b');
  });

  test('refuses what is no model, in one paragraph', async () => {
    const path = join(folder, 'page.pth');
    writeFileSync(path, '<!doctype html><title>Not found</title>');
    expectFailure(await wkv(['bench', '--model', path]), /page\.pth: the file is a web page/);
    expectFailure(
      await wkv(['bench', '--model', join(folder, 'missing.pth')]),
      /missing\.pth: .*no such file/,
    );
  });

  // There, killing a process is all that another can do, whatever the signal.
  const testSignal = unless(onWindows('Windows has no signals for children'));

  for (const [when, delay] of [
    ['as it begins', 0],
    ['while it measures', 3000],
  ] as const)
    testSignal(`ends with Ctrl-C ${when}, without a report`, async () => {
      const path = await writeRandomModel(folder, `stopped-${delay}`, smallShape);
      const { child, ended } = await startListening(['bench', '--model', path, '--rounds', '1000']);
      await wait(delay);
      child.kill('SIGINT');
      const outcome = await ended;
      expectInterrupted(outcome);
      expect(outcome.stdout.length).toBe(0);
    });
});

describe('a round', () => {
  afterEach(() => jest.restoreAllMocks());

  test('has as many sessions together as half of the free memory has states for, and leaves none of its prompts', async () => {
    const path = await writeRandomModel(folder, 'crowd', smallShape);
    await withModel(path, {}, async (model) => {
      for (const memory of ['freemem', 'totalmem'] as const) {
        jest.spyOn(os, memory).mockReturnValue(7 * model.info.stateBytes);
      }
      jest.spyOn(process, 'constrainedMemory').mockReturnValue(0);
      const created = jest.spyOn(Model.prototype, 'createSession');
      const disposed = jest.spyOn(Session.prototype, 'dispose');
      const settings = { bytesPerToken: 1, threads: 1, rounds: 2 };
      const done: number[] = [];
      const { signal } = new AbortController();
      const { sessions, rounds } = await measure(model, settings, signal, (count) => done.push(count));
      expect(sessions).toBe(3);
      expect(rounds).toHaveLength(2);
      expect(done).toEqual([1, 2]);
      expect(disposed).toHaveBeenCalledTimes(created.mock.calls.length - sessions);
    });
  });
});

describe('a spread', () => {
  test('is the median and the quartiles, of any order', () => {
    expect(spreadOf([5, 1, 4, 2, 3])).toEqual({ lower: 2, median: 3, upper: 4 });
    expect(spreadOf([7])).toEqual({ lower: 7, median: 7, upper: 7 });
  });

  test('is nothing where something was not measured', () => {
    expect(spreadOf([1, null, 2])).toBeNull();
    expect(spreadOf([])).toBeNull();
  });
});

describe('the ceilings', () => {
  test('are known of fused multiply-adds and of reading everywhere', async () => {
    expect(await native.measurePeak('f32', 2)).toBeGreaterThan(0);
    expect(await native.measureRead(2)).toBeGreaterThan(0);
  });

  test.each(['measurePeak', 'measureRead'])('%s refuses what it cannot measure', (name) => {
    const measure: unknown = Reflect.get(native, name);
    if (typeof measure !== 'function') throw new Error(`there is no ${name}`);
    const of = name === 'measurePeak' ? ['f32'] : [];
    for (const args of [
      [...of, 0],
      [...of, 257],
      [...of, NaN],
      [...of, '1'],
      ['f64', 1],
      [undefined, 1],
    ]) {
      expect(() => {
        void Reflect.apply(measure, undefined, args);
      }).toThrow();
    }
  });
});
