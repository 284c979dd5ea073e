import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openTensorDirectory } from '../../lib/formats';
import { writePth, type WritableTensor } from '../support/pth-writer';
import { writeHuggingFaceDirectory, writeSafetensors } from '../support/safetensors-writer';
import { onWindows, unless } from '../support/unless';
import { refusal, smallModel, smallValues, useScratchDirectory, valuesOf } from './support';

const scratch = useScratchDirectory();

function scalars(names: readonly string[]): WritableTensor[] {
  return names.map((name, index) => ({ name, type: 'f32', shape: [1], data: [index] }));
}

describe('names of transformers', () => {
  // huggingface.co/RWKV/v5-Eagle-7B-HF on the left, BlinkDL/rwkv-5-world on the right.
  const pairs: [string, string][] = [
    ['rwkv.embeddings.weight', 'emb.weight'],
    ['rwkv.blocks.0.pre_ln.weight', 'blocks.0.ln0.weight'],
    ['rwkv.blocks.0.ln1.bias', 'blocks.0.ln1.bias'],
    ['rwkv.blocks.31.attention.time_decay', 'blocks.31.att.time_decay'],
    ['rwkv.blocks.31.attention.time_faaaa', 'blocks.31.att.time_faaaa'],
    ['rwkv.blocks.0.attention.time_first', 'blocks.0.att.time_first'],
    ['rwkv.blocks.0.attention.time_mix_key', 'blocks.0.att.time_mix_k'],
    ['rwkv.blocks.0.attention.time_mix_value', 'blocks.0.att.time_mix_v'],
    ['rwkv.blocks.0.attention.time_mix_receptance', 'blocks.0.att.time_mix_r'],
    ['rwkv.blocks.0.attention.time_mix_gate', 'blocks.0.att.time_mix_g'],
    ['rwkv.blocks.0.attention.key.weight', 'blocks.0.att.key.weight'],
    ['rwkv.blocks.0.attention.gate.weight', 'blocks.0.att.gate.weight'],
    ['rwkv.blocks.0.attention.ln_x.weight', 'blocks.0.att.ln_x.weight'],
    ['rwkv.blocks.0.feed_forward.time_mix_key', 'blocks.0.ffn.time_mix_k'],
    ['rwkv.blocks.0.feed_forward.time_mix_receptance', 'blocks.0.ffn.time_mix_r'],
    ['rwkv.blocks.0.feed_forward.value.weight', 'blocks.0.ffn.value.weight'],
    ['rwkv.ln_out.weight', 'ln_out.weight'],
    ['head.weight', 'head.weight'],
  ];

  test('come out as BlinkDL publishes them', async () => {
    const path = scratch('names.safetensors');
    await writeSafetensors(path, scalars(pairs.map(([theirs]) => theirs)));
    const { tensors } = await openTensorDirectory(path);
    expect(tensors.map(({ name }) => name)).toEqual(pairs.map(([, ours]) => ours));
  });

  test('that come out the same are refused', async () => {
    const path = scratch('twins.safetensors');
    await writeSafetensors(path, scalars(['rwkv.blocks.0.ln0.bias', 'rwkv.blocks.0.pre_ln.bias']));
    expect(await refusal(path)).toMatchObject({ code: 'ERR_WKV_FORMAT', tensor: 'blocks.0.ln0.bias' });
  });
});

describe('a Hugging Face directory', () => {
  test('is read', async () => {
    const directory = scratch('plain');
    await writeHuggingFaceDirectory(directory, smallModel, { config: { model_type: 'rwkv5' } });
    expect(await valuesOf(directory)).toEqual(smallValues);
    const { metadata, format } = await openTensorDirectory(directory);
    expect(format).toBe('safetensors');
    expect({ ...metadata }).toEqual({ format: 'pt' });
  });

  test('tells the chat template of its older place', async () => {
    const template = "{{ 'User: ' + message.content }}";
    const named = [
      { name: 'tool_use', template: 'another' },
      { name: 'default', template },
    ];
    const directory = scratch('older-chat');
    await writeHuggingFaceDirectory(directory, smallModel);
    for (const [said, expected] of [
      [template, template],
      [named, template],
      [[named[0]], undefined],
      [5, undefined],
      ['x'.repeat(1 << 20), 'x'.repeat(1 << 20)],
      ['x'.repeat((1 << 20) + 1), undefined],
      [undefined, undefined],
    ] as const) {
      writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify({ chat_template: said }));
      expect((await openTensorDirectory(directory)).metadata['tokenizer.chat_template']).toBe(expected);
    }
    writeFileSync(join(directory, 'tokenizer_config.json'), 'no JSON');
    expect((await openTensorDirectory(directory)).metadata['tokenizer.chat_template']).toBeUndefined();
  });

  test.each([
    ['norm_eps', 'rwkv7'],
    ['layer_norm_epsilon', 'rwkv5'],
  ])('is refused where its configuration has another %s', async (key, type) => {
    const directory = scratch('epsilon');
    const open = async (model_type: string, epsilon: number): Promise<unknown> => {
      await writeHuggingFaceDirectory(directory, smallModel, { config: { model_type, [key]: epsilon } });
      return await valuesOf(directory);
    };
    expect(await open(type, 1e-5)).toEqual(smallValues);
    expect(await open(type, Math.fround(1e-5))).toEqual(smallValues);
    expect(await open('llama', 1e-6)).toEqual(smallValues);
    await open(type, 1e-5);
    const settings = `\ufeff{"model_type": "${type}", "limits": [NaN, -Infinity], "${key}": 0.000001}`;
    writeFileSync(join(directory, 'config.json'), settings);
    expect(await refusal(directory)).toMatchObject({
      code: 'ERR_WKV_UNSUPPORTED',
      path: join(directory, 'config.json'),
      ...{ expected: '0.00001', found: '0.000001' },
    });
  });

  test('tells the chat template that lies in it', async () => {
    const directory = scratch('chat');
    await writeHuggingFaceDirectory(directory, smallModel, { shards: 2 });
    const template = "{{ 'User: ' + message.content + '\\n\\nAssistant: <think' }} 你好\n";
    writeFileSync(join(directory, 'chat_template.jinja'), template);
    for (const path of [directory, join(directory, 'model.safetensors.index.json')]) {
      const { metadata } = await openTensorDirectory(path);
      expect(metadata['tokenizer.chat_template']).toBe(template);
    }
    writeFileSync(join(directory, 'chat_template.jinja'), 'x'.repeat((1 << 20) + 1));
    expect(await refusal(directory)).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      path: join(directory, 'chat_template.jinja'),
      expected: 'at most 1048576 bytes',
    });
  });

  test('is read without a configuration', async () => {
    const directory = scratch('bare');
    await writeHuggingFaceDirectory(directory, smallModel);
    expect(await valuesOf(directory)).toEqual(smallValues);
  });

  test('may hold its model as pytorch_model.bin', async () => {
    const directory = scratch('torch');
    mkdirSync(directory);
    await writePth(join(directory, 'pytorch_model.bin'), smallModel, { ordered: true });
    expect(await valuesOf(directory)).toEqual(smallValues);
  });

  test('may be given as a file URL', async () => {
    const directory = scratch('with space %41 and #');
    await writeHuggingFaceDirectory(directory, smallModel);
    const { tensors } = await openTensorDirectory(pathToFileURL(directory));
    expect(tensors).toHaveLength(smallModel.length);
  });

  test('without a model is refused with a hint at the weight files that are there', async () => {
    const directory = scratch('other');
    mkdirSync(directory);
    writeFileSync(join(directory, 'RWKV-5.pth'), 'x');
    const error = await refusal(directory);
    expect(error.code).toBe('ERR_WKV_FORMAT');
    expect(error.message).toContain('RWKV-5.pth');
  });

  test.each([
    ['is no JSON', '{"a":'],
    ['has numbers of Python', '{"model_type": "rwkv7", "time_step_limit": [0.0, Infinity], "x": NaN}'],
    ['has numbers of nobody', '{"model_type": -NaN, "x": Infinit}'],
    ['has a byte order mark', '\ufeff{"model_type": "rwkv7"}'],
    ['is no object', '[1]'],
    ['has a key twice', '{"a":1,"a":2}'],
    ['is empty', ''],
    ['is nested too deeply', `{"a":${'['.repeat(50_000)}`],
    ['is too large', `{"a":"${'x'.repeat(5 << 20)}"}`],
  ])('is read with a configuration that %s, which is no part of the model', async (_, text) => {
    const directory = scratch('config');
    await writeHuggingFaceDirectory(directory, smallModel);
    writeFileSync(join(directory, 'config.json'), text);
    expect(await valuesOf(directory)).toEqual(smallValues);
    rmSync(directory, { recursive: true });
  });

  unless(onWindows('symbolic links need a privilege on Windows'))(
    'is read with settings that are links to nothing',
    async () => {
      const directory = scratch('links');
      await writeHuggingFaceDirectory(directory, smallModel);
      for (const name of ['config.json', 'tokenizer_config.json']) {
        symlinkSync(`no-${name}`, join(directory, name));
      }
      expect(await valuesOf(directory)).toEqual(smallValues);
    },
  );

  test('that is the cache of one is refused with a hint at what is in it', async () => {
    const directory = scratch('models--a--b');
    mkdirSync(join(directory, 'snapshots'), { recursive: true });
    expect((await refusal(directory)).message).toContain('pass the path of one of its snapshots/*');
  });
});

describe('a model in several files', () => {
  const shards = 2;
  const index = 'model.safetensors.index.json';
  const first = 'model-00001-of-00002.safetensors';
  const second = 'model-00002-of-00002.safetensors';

  function rewriteIndex(directory: string, weightMap: Readonly<Record<string, unknown>>): void {
    writeFileSync(join(directory, index), JSON.stringify({ weight_map: weightMap }));
  }

  test('is read by its directory and by its index', async () => {
    const directory = scratch('sharded');
    await writeHuggingFaceDirectory(directory, smallModel, { shards, config: { model_type: 'rwkv5' } });
    expect(await valuesOf(directory)).toEqual(smallValues);
    expect(await valuesOf(join(directory, index))).toEqual(smallValues);
    const { files, metadata } = await openTensorDirectory(join(directory, index));
    expect(files.map(({ path }) => path)).toEqual([join(directory, first), join(directory, second)]);
    expect({ ...metadata }).toEqual({ format: 'pt' });
  });

  test('is passed by where its directory has it in one file, too', async () => {
    const directory = scratch('both');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    await writeSafetensors(join(directory, 'model.safetensors'), scalars(['head.weight']));
    expect(await valuesOf(directory)).toEqual([['head.weight', [0]]]);
  });

  test('may have deflated torch files for its parts', async () => {
    const directory = scratch('torch-parts');
    mkdirSync(directory);
    await writePth(join(directory, 'a.bin'), smallModel.slice(0, 1), { compression: 'deflated' });
    await writePth(join(directory, 'b.bin'), smallModel.slice(1), { compression: 'deflated' });
    const weightMap = Object.fromEntries(
      smallModel.map(({ name }, at) => [name, at < 1 ? 'a.bin' : 'b.bin']),
    );
    writeFileSync(join(directory, 'pytorch_model.bin.index.json'), JSON.stringify({ weight_map: weightMap }));
    expect(await valuesOf(directory)).toEqual(smallValues);
  });

  test('is refused where a file is missing, naming it', async () => {
    const directory = scratch('missing');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    rmSync(join(directory, second));
    const error = await refusal(directory);
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', path: join(directory, second) });
    expect(error.message).toContain(second);
  });

  test('is refused where the last file is damaged, and leaves nothing of the others', async () => {
    const directory = scratch('damaged');
    mkdirSync(directory);
    await writePth(join(directory, 'a.bin'), smallModel.slice(0, 1), { compression: 'deflated' });
    writeFileSync(join(directory, 'b.bin'), 'this is not a model at all');
    const weightMap = { 'emb.weight': 'a.bin', 'head.weight': 'b.bin' };
    writeFileSync(join(directory, 'pytorch_model.bin.index.json'), JSON.stringify({ weight_map: weightMap }));
    expect(await refusal(directory)).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      path: join(directory, 'b.bin'),
    });
  });

  test.each([
    ['../model.safetensors'],
    ['/etc/passwd'],
    ['parts/model.safetensors'],
    ['parts\\model.safetensors'],
    ['..'],
    ['.'],
    [''],
    ['a\0b'],
    [7],
  ])('is refused where its index names the file %j', async (file) => {
    const directory = scratch('outside');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    rewriteIndex(directory, { 'head.weight': file });
    expect(await refusal(directory)).toMatchObject({ code: 'ERR_WKV_FORMAT', tensor: 'head.weight' });
  });

  test('is refused where its index names itself', async () => {
    const directory = scratch('itself');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    rewriteIndex(directory, { 'head.weight': index });
    expect((await refusal(directory)).code).toBe('ERR_WKV_FORMAT');
  });

  test('is refused where a tensor is not in the file that the index says', async () => {
    const directory = scratch('absent');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    rewriteIndex(directory, {
      'rwkv.embeddings.weight': first,
      'rwkv.blocks.0.pre_ln.weight': first,
      'rwkv.ln_out.weight': first,
    });
    const error = await refusal(directory);
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', tensor: 'rwkv.ln_out.weight' });
    expect(error.message).toContain(first);
  });

  test('is refused where a file holds a tensor that the index does not name', async () => {
    const directory = scratch('unnamed');
    await writeHuggingFaceDirectory(directory, smallModel, { shards: 1 });
    rewriteIndex(directory, { 'head.weight': 'model.safetensors' });
    const error = await refusal(join(directory, index));
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', path: join(directory, index) });
    expect(error.message).toMatch(/"model\.safetensors" holds the tensor .*, but the index does not say so/);
  });

  test.each<[string, () => string, RegExp]>([
    [
      'names more than 1,000 files',
      () => {
        const names = Array.from({ length: 1001 }, (_, i) => [`a${i}`, `b${i}`]);
        return JSON.stringify({ weight_map: Object.fromEntries(names) as unknown });
      },
      /the index names more than 1000 files/,
    ],
    [
      'has more than 16 MiB',
      () => `{"weight_map":{"a":"b"}}${' '.repeat(1 << 24)}`,
      /the index is too large/,
    ],
  ])('is refused where its index %s, before a file is looked for', async (_, text, message) => {
    const path = scratch('large.index.json');
    writeFileSync(path, text());
    const error = await refusal(path);
    expect(error).toMatchObject({ code: 'ERR_WKV_FORMAT', path });
    expect(error.message).toMatch(message);
  });

  test('is refused where two files hold the same tensor', async () => {
    const directory = scratch('doubled');
    await writeHuggingFaceDirectory(directory, smallModel, { shards });
    copyFileSync(join(directory, first), join(directory, second));
    expect((await refusal(directory)).code).toBe('ERR_WKV_FORMAT');
  });

  test.each([
    ['no weight_map', '{"metadata":{}}'],
    ['an empty weight_map', '{"weight_map":{}}'],
    ['a list for a weight_map', '{"weight_map":[]}'],
    ['a damaged text', '{"weight_map":{"a'],
  ])('is refused with %s', async (_, text) => {
    const path = scratch('other.index.json');
    writeFileSync(path, text);
    expect((await refusal(path)).code).toBe('ERR_WKV_FORMAT');
  });
});
