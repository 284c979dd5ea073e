import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatBytes } from '../../lib/format-bytes';
import { writeEmptyModel } from '../support/empty-model';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { ggufMetadata, ggufShape, ggufTensors, rwkv7 } from '../support/gguf-models';
import { ggufBytes, type GgufEntry } from '../support/gguf-writer';
import { writePth } from '../support/pth-writer';
import { simulatedCuda, withoutSimulatedCuda } from '../support/cuda';
import { asTransformersRwkv } from '../support/foreign-names';
import { randomModel, type RandomModelShape } from '../support/random-model';
import { writeHuggingFaceDirectory, writeSafetensors } from '../support/safetensors-writer';
import { notOnLinux, unless } from '../support/unless';
import { temporaryFolder, writeRandomModel, writeTensors } from '../support/model';
import { expectFailure, json, testWithDemoModel, wkv } from './support';

const folder = temporaryFolder();
const shape: RandomModelShape = {
  layers: 3,
  embedding: 64,
  headSize: 16,
  feedForward: 230,
  vocabulary: 256,
  type: 'mixed',
  seed: 5,
};
const tensors = randomModel(shape);
const parameters = tensors.reduce((sum, { data }) => sum + data.length, 0);
/** Per layer att_x and ffn_x [embedding], and wkv [heads][head size][head size], in float32. */
const stateBytes = 4 * shape.layers * (2 * 64 + 4 * 16 * 16);

describe('wkv inspect', () => {
  test('says what a file is, as JSON', async () => {
    const path = await writeTensors(folder, 'model', 'safetensors', tensors);
    const sum = (type: string): number =>
      tensors.filter((tensor) => tensor.type === type).reduce((all, { data }) => all + data.length, 0);
    const outcome = await wkv(['inspect', '--json', path]);
    expect(outcome.code).toBe(0);
    const report = json(outcome);
    expect(report).toMatchObject({
      path,
      format: 'safetensors',
      files: [{ path, bytes: statSync(path).size }],
      architecture: 'rwkv5',
      version: '5.2',
      layers: 3,
      embedding: 64,
      heads: 4,
      headSize: 16,
      feedForward: 230,
      vocabulary: 256,
      parameters,
      stateBytes,
      storedAs: 'bf16',
      stored: { f32: sum('f32') * 4, bf16: sum('bf16') * 2 },
      tokenizer: { ids: 256 },
    });
  });

  test('says the same of a model under the names of a fork of transformers, and calls its tensors by them', async () => {
    const seven = randomModel({ ...shape, version: '7', type: 'bf16', unusedValues: false });
    const theirs = asTransformersRwkv(seven);
    const own = await writeTensors(folder, 'own-7', 'safetensors', seven);
    const path = join(folder, 'theirs-7.safetensors');
    await writeSafetensors(path, theirs);
    const { parameters, architecture, storedAs, stored, heads } = json(await wkv(['inspect', '--json', own]));
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({
      ...{ path, architecture, parameters, storedAs, stored, heads },
    });
    await writeSafetensors(path, theirs.slice(0, -1));
    expectFailure(await wkv(['inspect', path]), /the tensor lm_head\.weight is missing/);
  });

  test('unpacks nothing of a file that is compressed', async () => {
    const path = join(folder, 'compressed.pth');
    await writePth(path, tensors, { compression: 'deflated' });
    const nowhere = { TMPDIR: join(folder, 'absent'), TEMP: join(folder, 'absent') };
    // What TypeScript is translated to is written before: the translator itself needs such a folder.
    await wkv(['inspect', '--json', path]);
    const report = json(await wkv(['inspect', '--json', path], { environment: nowhere }));
    expect(report).toMatchObject({ parameters, files: [{ path, bytes: statSync(path).size }] });
  });

  test('takes tensors that are larger than the file that they are compressed in', async () => {
    const path = join(folder, 'zeros.pth');
    const zeros = tensors.map((tensor) => ({ ...tensor, data: new Float32Array(tensor.data.length) }));
    await writePth(path, zeros, { compression: 'deflated' });
    const largest = Math.max(...zeros.map(({ data }) => 2 * data.length));
    expect(largest).toBeGreaterThan(statSync(path).size);
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({ parameters });
  });

  test('weighs each type of weights, and claims no speed for a model that fits into caches', async () => {
    const path = await writeRandomModel(folder, 'weighed', shape);
    const { choices } = json(await wkv(['inspect', '--json', path])) as {
      choices: {
        weights: 'f32' | 'f16' | 'bf16' | 'int8' | 'int4';
        bytes: number;
        fits: boolean;
        maxTokensPerSecond: number | null;
      }[];
    };
    expect(choices.map(({ weights }) => weights)).toEqual(['f32', 'f16', 'bf16', 'int8', 'int4']);
    for (const { weights, bytes, fits, maxTokensPerSecond } of choices) {
      // Vectors stay float32, and rows are padded; neither is more than a small part of these shapes.
      const matrices = parameters * { f32: 4, f16: 2, bf16: 2, int8: 1, int4: 0.5 }[weights];
      expect(bytes).toBeGreaterThanOrEqual(matrices);
      // Beside int8 lie a scale for sixteen numbers, and the embedding as it was; half of int4's it is twice as much.
      const most = { f32: 1.25, f16: 1.25, bf16: 1.25, int8: 2, int4: 3.5 }[weights];
      expect(bytes).toBeLessThan(matrices * most);
      expect({ fits, maxTokensPerSecond }).toEqual({ fits: true, maxTokensPerSecond: null });
    }
  });

  unless(withoutSimulatedCuda)('says what fits on which GPU', async () => {
    const path = await writeRandomModel(folder, 'gpu', shape);
    const environment = { WKV_CUDA_LIBRARY: simulatedCuda, WKV_SIMULATED_GPU: 'devices=2' };
    const { choices, gpus } = json(await wkv(['inspect', '--json', path], { environment })) as {
      choices: { weights: string; bytes: number; fitsOn: string[] }[];
      gpus: { device: string; name: string; freeBytes: number }[];
    };
    const name = 'Simulated GPU';
    const freeBytes = 2 ** 30;
    expect(gpus).toEqual([
      { device: 'cuda:0', name, freeBytes },
      { device: 'cuda:1', name, freeBytes },
    ]);
    const both = ['cuda:0', 'cuda:1'];
    expect(Object.fromEntries(choices.map(({ weights, fitsOn }) => [weights, fitsOn]))).toEqual({
      ...{ f32: [], f16: [], bf16: [], int8: both, int4: both },
    });
    const { bytes } = choices.find(({ weights }) => weights === 'int4')!;
    const settings = { ...environment, WKV_SIMULATED_GPU: `memory=${bytes}` };
    const text = String((await wkv(['inspect', path], { environment: settings })).stdout);
    expect(text).toMatch(/^cuda:0 +Simulated GPU, [\d.]+ KiB free$/m);
    expect(text).toMatch(/^int4 +[\d.]+ KiB +yes +not set/m);
  });

  test('says it in words', async () => {
    const path = await writeRandomModel(folder, 'words', shape);
    const { code, stdout, stderr } = await wkv(['inspect', path]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const text = String(stdout);
    expect(text).toMatch(/^model +RWKV 5\.2 \(rwkv5\), [\d,]+ parameters$/m);
    expect(text).toContain(`${parameters.toLocaleString('en-US')} parameters`);
    const size = formatBytes(statSync(path).size);
    expect(text).toMatch(new RegExp(`^file +.*words\\.pth \\(pth, ${size}\\)$`, 'm'));
    expect(text).toMatch(/^dimensions +3 layers, embedding 64, feed-forward 230$/m);
    expect(text).toMatch(/^heads +4 of 16$/m);
    expect(text).toMatch(/^vocabulary +256 ids; tokenizer of 256 ids$/m);
    expect(text).toMatch(
      new RegExp(`^session +${formatBytes(stateBytes)} of state, however long the text$`, 'm'),
    );
    expect(text).toMatch(/^chats +written as 'world'; the file has no template of its own$/m);
    expect(text).toMatch(/^memory here +[\d.]+ [KMGT]iB free$/m);
    expect(text).toMatch(/^bf16 \(as stored\) +[\d.]+ KiB +yes +/m);
    expect(text).toMatch(/^f32 \(auto\) +[\d.]+ KiB +yes +/m);
    expect(text).not.toContain('\u001b');
  });

  test('says of how many files a model is, and how large they are together', async () => {
    const path = join(folder, 'shards');
    await writeHuggingFaceDirectory(path, tensors, { shards: 3 });
    const files = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
    const total = files.reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
    const text = String((await wkv(['inspect', path])).stdout);
    expect(text).toContain(`shards (safetensors, 3 files, ${formatBytes(total)})\n`);
  });

  test('says that a model has no tokenizer, or that it has one of its own', async () => {
    const path = join(folder, 'own.gguf');
    const write = (entries: Record<string, GgufEntry>): void => {
      const metadata = { ...ggufMetadata('rwkv7'), ...entries };
      writeFileSync(path, ggufBytes(ggufTensors('rwkv7', rwkv7()), { metadata }));
    };
    write({});
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({ tokenizer: null });
    expect(String((await wkv(['inspect', path])).stdout)).toMatch(
      /^vocabulary +7 ids; no tokenizer found \(wkv generate --vocabulary FILE\)$/m,
    );
    write({
      'tokenizer.ggml.model': ['string', 'rwkv'],
      'tokenizer.ggml.tokens': ['array', 'string', ['<s>', 'a', 'b']],
    });
    expect(json(await wkv(['inspect', '--json', path]))).toMatchObject({ tokenizer: { ids: 3 } });
  });

  test('counts of the embedding the row that a token reads, in the type that it has in memory', async () => {
    const path = await writeRandomModel(folder, 'embedding', shape);
    const { choices } = json(await wkv(['inspect', '--json', path])) as {
      choices: { weights: string; bytes: number; bytesPerToken: number }[];
    };
    const unread = choices.map(({ weights, bytes, bytesPerToken }) => [weights, bytes - bytesPerToken]);
    const rows = (bytes: number): number => bytes * 255 * 64;
    // Beside quantized matrices it stays what it is in the file.
    expect(Object.fromEntries(unread)).toEqual({
      ...{ f32: rows(4), f16: rows(2), bf16: rows(2), int8: rows(2), int4: rows(2) },
    });
    // What is in blocks there is f16.
    const blocks = { ...ggufShape, feedForward: 64 };
    const ggufPath = join(folder, 'blocks.gguf');
    const written = ggufTensors('rwkv7', rwkv7(blocks), { matrices: 'q8_0' });
    writeFileSync(ggufPath, ggufBytes(written, { metadata: ggufMetadata('rwkv7', blocks) }));
    const report = json(await wkv(['inspect', '--json', ggufPath])) as { choices: typeof choices };
    const packed = report.choices.find(({ weights }) => weights === 'int8')!;
    expect(packed.bytes - packed.bytesPerToken).toBe(2 * (blocks.vocabulary - 1) * blocks.embedding);
  });

  unless(notOnLinux('an empty file may take all of its size elsewhere'))(
    'says what does not fit',
    async () => {
      const path = join(folder, 'huge.safetensors');
      writeEmptyModel(path, { layers: 1, embedding: 4096, feedForward: 64, vocabulary: 2 ** 24 });
      const { choices, memory } = json(await wkv(['inspect', '--json', path])) as {
        choices: { bytes: number; fits: boolean }[];
        memory: { freeBytes: number };
      };
      expect(choices.map(({ fits }) => fits)).toEqual(choices.map(({ bytes }) => bytes <= memory.freeBytes));
      const text = String((await wkv(['inspect', path])).stdout);
      const widest = choices[0]!.bytes > 2 * memory.freeBytes ? 'no' : '(yes|no)';
      expect(text).toMatch(new RegExp(`^f32 +\\d+\\.\\d GiB +${widest} +`, 'm'));
      rmSync(path);
    },
  );

  test('bounds the speed of a large model by the memory that it has to read', async () => {
    const path = join(folder, 'large.safetensors');
    writeEmptyModel(path, { layers: 8, embedding: 2048, feedForward: 7168, vocabulary: 256 });
    const { choices, memory } = json(await wkv(['inspect', '--json', path])) as {
      choices: { weights: string; bytesPerToken: number; maxTokensPerSecond: number | null }[];
      memory: { bytesPerSecond: number | null };
    };
    const half = choices.find(({ weights }) => weights === 'bf16')!;
    // Matrices of a layer: five of embedding^2, one more in channel mixing, two of embedding * feed-forward; the head.
    const matrices = 8 * (6 * 2048 ** 2 + 2 * 2048 * 7168) + 256 * 2048;
    expect(half.bytesPerToken / (2 * matrices)).toBeGreaterThan(1);
    expect(half.bytesPerToken / (2 * matrices)).toBeLessThan(1.01); // the rest are vectors
    if (memory.bytesPerSecond === null) {
      expect(half.maxTokensPerSecond).toBeNull();
    } else {
      expect(half.maxTokensPerSecond).toBeCloseTo(memory.bytesPerSecond / half.bytesPerToken, 6);
    }
    const text = String((await wkv(['inspect', path])).stdout);
    const [, speed] = /^its speed +.* about ([\d.]+) GB\/s/m.exec(text) ?? [];
    const [, rate] = /^bf16 .* at most about ([\d.]+) tokens\/s/m.exec(text) ?? [];
    if (speed === undefined) {
      expect(text).toMatch(/^its speed +not measured: too little is free$/m);
      expect(rate).toBeUndefined();
    } else {
      // Two digits of it are shown.
      const ratio = (Number(rate) * half.bytesPerToken) / (Number(speed) * 1e9);
      expect(Math.abs(ratio - 1)).toBeLessThan(0.1);
    }
  });

  test('refuses what is no model, in one paragraph', async () => {
    const path = join(folder, 'page.pth');
    writeFileSync(path, '<!doctype html><title>Not found</title>');
    expectFailure(await wkv(['inspect', path]), /page\.pth: the file is a web page/);
    expectFailure(await wkv(['inspect', join(folder, 'no\u001b[31m.pth')]), /no(\\x1b)?.*: no such file/);
  });

  testWithDemoModel('looks at the embedded model where no file is named', async () => {
    expect(json(await wkv(['inspect', '--json']))).toMatchObject({
      version: '5.2',
      vocabulary: 256,
      format: 'pth',
    });
  });
});

describeWithFixtures('wkv inspect with models of others', () => {
  test('says what an older model is', async () => {
    expect(json(await wkv(['inspect', '--json', fixturePath('v4', 'tiny.bf16.pth')]))).toMatchObject({
      architecture: 'rwkv4',
      version: '4',
      layers: 4,
      embedding: 128,
      feedForward: 256,
      stateBytes: 4 * 4 * 5 * 128,
    });
  });

  test('reads a Hugging Face directory', async () => {
    const report = json(await wkv(['inspect', '--json', fixturePath('v5.2', 'hf-bf16')]));
    expect(report).toMatchObject({
      format: 'safetensors',
      layers: 12,
      embedding: 64,
      heads: 8,
      storedAs: 'bf16',
    });
  });
});
