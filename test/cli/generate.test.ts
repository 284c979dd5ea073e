import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { addSamplingOptions, toGenerateOptions, type SamplingFlags } from '../../lib/cli/sampling-options';
import { describeWithFixtures, fixturePath, readExpected } from '../support/fixtures';
import { smallShape, temporaryFolder, writeRandomModel, writeTensors } from '../support/model';
import { referenceModel } from '../reference/model';
import { simulatedCuda, withoutSimulatedCuda } from '../support/cuda';
import { randomModel, referenceTensors } from '../support/random-model';
import { unless } from '../support/unless';
import { endlessModel, expectFailure, json, testWithDemoModel, writeEndlessModel, wkv } from './support';

const folder = temporaryFolder();
const prompt = 'Once';
let model: string;
let greedy: number[];

/** What the oracle generates after the prompt when the most probable token is always taken. */
function generateGreedily(tokens: number): number[] {
  const reference = referenceModel(referenceTensors(endlessModel()));
  const state = reference.initialState();
  let logits: Float64Array = Float64Array.of();
  for (const token of Buffer.from(prompt)) logits = reference.forward(token, state);
  return Array.from({ length: tokens }, () => {
    const best = logits.indexOf(Math.max(...logits));
    logits = reference.forward(best, state);
    return best;
  });
}

beforeAll(async () => {
  model = await writeEndlessModel(folder);
  greedy = generateGreedily(20);
});

const few = ['--temperature', '0', '--max-tokens', '20'];

describe('wkv generate', () => {
  test('writes the generated text and nothing else, closed by a newline', async () => {
    const { code, stdout, stderr } = await wkv(['generate', '--model', model, ...few, prompt]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(String(stdout)).toBe(`${Buffer.from(greedy).toString('utf8')}\n`);
  });

  test('refuses to ban a token that the model does not have', async () => {
    const { code, stderr } = await wkv(['generate', '--model', model, '--ban', '255,256', prompt]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error: option '--ban <ids>' argument '256' is invalid\. The model has the ids 0 to 255/,
    );
  });

  test('says that an instruction set is not there', async () => {
    const options = { environment: { WKV_ISA: 'mmx' } };
    const { code, stderr } = await wkv(['generate', '--model', model, ...few, prompt], options);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^WKV_ISA=mmx is not available on this processor; \S+ is used\n$/);
  });

  test('prints everything as one JSON object with --json', async () => {
    const outcome = await wkv([
      'generate',
      '-m',
      model,
      ...few,
      '--seed',
      '18446744073709551615',
      '--json',
      prompt,
    ]);
    expect(outcome.code).toBe(0);
    const seconds = expect.any(Number) as number;
    expect(json(outcome)).toEqual({
      text: Buffer.from(greedy).toString('utf8'),
      tokens: greedy,
      finishReason: 'length',
      seed: '18446744073709551615',
      usage: { promptTokens: 4, completionTokens: 20 },
      timings: {
        loadSeconds: seconds,
        promptSeconds: seconds,
        decodeSeconds: seconds,
        tokensPerSecond: seconds,
      },
    });
  });

  test.each([[['-']], [[]]])(
    'takes the prompt from standard input, without its last newline (%j)',
    async (argument) => {
      const outcome = await wkv(['generate', '-m', model, ...few, '--json', ...argument], {
        input: `${prompt}\r\n`,
      });
      expect(json(outcome)).toMatchObject({ tokens: greedy, usage: { promptTokens: 4 } });
    },
  );

  test('takes bytes that are no text from standard input as they are', async () => {
    const input = Uint8Array.of(0xff, 0x00, 0x80);
    const outcome = await wkv(['generate', '-m', model, '--max-tokens', '0', '--json'], { input });
    expect(json(outcome)).toMatchObject({
      text: '',
      tokens: [],
      usage: { promptTokens: 3, completionTokens: 0 },
    });
  });

  test('repeats itself with the seed that it reports, and not with another', async () => {
    const parameters = ['generate', '-m', model, '--max-tokens', '40', '--top-p', '1', '--json', prompt];
    const first = json(await wkv(parameters));
    const again = json(await wkv([...parameters, '--seed', String(first['seed'])]));
    const other = json(await wkv([...parameters, '--seed', first['seed'] === '1' ? '2' : '1']));
    expect(again['tokens']).toEqual(first['tokens']);
    expect(other['tokens']).not.toEqual(first['tokens']);
  });

  test.each([
    ['--top-k', '1'],
    ['--min-p', '1'],
    ['--top-p', '0'],
  ])('takes the most probable token with %s %s too', async (...option) => {
    const outcome = await wkv(['generate', '-m', model, ...option, '--max-tokens', '20', '--json', prompt]);
    expect(json(outcome)['tokens']).toEqual(greedy);
  });

  test('never generates a token that is banned', async () => {
    const banned = new Set(greedy.slice(0, 3));
    const ban = ['--ban', [...banned].slice(0, 2).join(', '), '--ban', String(greedy[2])];
    const tokens = json(await wkv(['generate', '-m', model, ...few, ...ban, '--json', prompt]))['tokens'];
    expect(tokens).toHaveLength(20);
    expect((tokens as number[]).filter((token) => banned.has(token))).toEqual([]);
  });

  test('never repeats itself under a heavy penalty', async () => {
    const penalty = ['--presence-penalty', '100', '--frequency-penalty', '0', '--penalty-decay', '1'];
    const { tokens } = json(await wkv(['generate', '-m', model, ...few, ...penalty, '--json', prompt]));
    expect(new Set(tokens as number[]).size).toBe(20);
  });

  test('stops before the first of several texts, in which \\n is a newline', async () => {
    const others = Array.from({ length: 256 }, (_, id) => id).filter((id) => id !== 10);
    const parameters = ['generate', '-m', model, ...few, '--ban', others.join(), '--json', prompt];
    expect(json(await wkv(parameters))).toMatchObject({ text: '\n'.repeat(20), finishReason: 'length' });
    const stopped = json(await wkv([...parameters, '--stop', 'B', '--stop', '\\n\\n']));
    const usage = { promptTokens: 4, completionTokens: 2 };
    expect(stopped).toMatchObject({ text: '', tokens: [], finishReason: 'stop', usage });
  });

  test('generates the same with another number of threads', async () => {
    const outcome = await wkv([
      'generate',
      '-m',
      model,
      ...few,
      '--threads',
      '1',
      '--weights',
      'f32',
      '--json',
      prompt,
    ]);
    expect(json(outcome)['tokens']).toEqual(greedy);
  });

  unless(withoutSimulatedCuda)('generates the same on a (simulated) GPU', async () => {
    const path = await writeEndlessModel(folder);
    const on = (...device: string[]): ReturnType<typeof wkv> =>
      wkv(
        ['generate', '-m', path, '--weights', 'int8', '--seed', '5', '--max-tokens', '20', ...device, prompt],
        {
          environment: { WKV_CUDA_LIBRARY: simulatedCuda },
        },
      );
    const { stdout, stderr, code } = await on('--device', 'cuda');
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout.length).toBeGreaterThan(5);
    expect((await on('--device', 'cpu')).stdout).toEqual(stdout);
    expect((await on()).stdout).toEqual(stdout);
    const missing = await on('--device', 'cuda:3');
    expectFailure(missing, /there is no device 'cuda:3'; there is cuda:0/);
  });

  test('needs a vocabulary for a model that has no tokenizer', async () => {
    const unknown = await writeRandomModel(folder, 'unknown', { ...smallShape, vocabulary: 300 });
    const parameters = ['generate', '-m', unknown, '--max-tokens', '1', '--json', 'ab'];
    expectFailure(await wkv(parameters), /300 ids.*--vocabulary FILE/);

    const vocabulary = join(folder, 'vocabulary.txt');
    writeFileSync(vocabulary, "1 'a' 1\n2 'b' 1\n3 'ab' 2\n");
    const outcome = await wkv([...parameters, '--vocabulary', vocabulary]);
    expect(json(outcome)).toMatchObject({ usage: { promptTokens: 1 } });
  });

  testWithDemoModel('uses the embedded model where none is named', async () => {
    const story = 'User: Tell me a story about a fox.\n\nAssistant:';
    const outcome = await wkv(['generate', '--temperature', '0', '--max-tokens', '60', '--json', story]);
    const { text } = json(outcome);
    expect(outcome.code).toBe(0);
    // Its training text has words of Latin letters, spaces, punctuation and a few emoji in English stories.
    expect(text).toMatch(/^ ([A-Za-z',.!?]+[ \n]+){8}/);
  });
});

test('Every flag of sampling is an option of the generation, but for the seed', () => {
  const flags = [
    ['--max-tokens', '7'],
    ['--stop', 'B'],
    ['--temperature', '0.5'],
    ['--top-p', '0.25'],
    ['--top-k', '9'],
    ['--min-p', '0.125'],
    ['--typical-p', '0.75'],
    ['--presence-penalty', '-1'],
    ['--frequency-penalty', '-2'],
    ['--penalty-decay', '0'],
    ['--ban', '3,4'],
    ['--seed', '5'],
  ];
  const command = addSamplingOptions(new Command(), { maxTokens: 256, stop: 'none' });
  expect(flags.map(([flag]) => flag)).toEqual(command.options.map(({ long }) => long));
  command.parse(flags.flat(), { from: 'user' });
  expect(toGenerateOptions(command.opts<SamplingFlags>())).toEqual({
    maxTokens: 7,
    stop: ['B'],
    temperature: 0.5,
    topP: 0.25,
    topK: 9,
    minP: 0.125,
    typicalP: 0.75,
    presencePenalty: -1,
    frequencyPenalty: -2,
    penaltyDecay: 0,
    bannedTokens: [3, 4],
  });
});

describeWithFixtures('wkv generate with a trained model', () => {
  test.each([
    ['v4', 'bf16', 'tiny.bf16.pth'],
    ['v5.2', 'fp32', 'tiny.fp32.pth'],
  ])('continues as another implementation does (%s)', async (version, type, file) => {
    const expected = readExpected(version, type, 'A');
    const outcome = await wkv(
      ['generate', '-m', fixturePath(version, file), '--temperature', '0', '--max-tokens', '64', '--json'],
      // The newline is the one that is dropped.
      { input: Buffer.from([...expected.tokens, 0x0a]) },
    );
    expect(json(outcome)['tokens']).toEqual(expected.greedy);
  });
});

describe('a failure of wkv generate', () => {
  test('names the tensor that a variant has', async () => {
    const variant = await writeTensors(folder, 'variant', 'safetensors', [
      ...randomModel({ ...smallShape, version: '7' }),
      {
        name: 'blocks.0.ffn.s_emb.weight',
        type: 'f32',
        shape: [smallShape.vocabulary, 2],
        data: new Float32Array(2 * smallShape.vocabulary),
      },
    ]);
    const outcome = await wkv(['generate', '-m', variant, 'Once']);
    expectFailure(outcome, /blocks\.0\.ffn\.s_emb\.weight/);
  });

  test('names a file that does not exist', async () => {
    const missing = join(folder, 'missing.pth');
    expectFailure(await wkv(['generate', '-m', missing, 'a']), /missing\.pth: no such file/);
  });

  test('names a file that is no model', async () => {
    const text = join(folder, 'notes.txt');
    writeFileSync(text, 'Buy milk. Call the dentist.\n');
    expectFailure(await wkv(['generate', '-m', text, 'a']), /notes\.txt: .*neither a torch file/);
  });

  test('names a vocabulary that does not exist, and one that is none', async () => {
    const missing = await wkv(['generate', '-m', model, '--vocabulary', join(folder, 'no.txt'), 'a']);
    expectFailure(missing, /cannot read .*no\.txt: there is no such file/);
    expectFailure(await wkv(['generate', '-m', model, '--vocabulary', model, 'a']), /endless\.pth/);
  });

  test('shows the stack with WKV_DEBUG=1 alone', async () => {
    const { code, stderr } = await wkv(['generate', '-m', join(folder, 'missing.pth'), 'a'], {
      environment: { WKV_DEBUG: '1' },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*\nWkvError: .*\n +at /);
  });

  test('of the addon says how to get it', async () => {
    const outcome = await wkv(['generate', 'a'], { environment: { WKV_PREBUILD: folder } });
    expectFailure(outcome, /wkv has no binary for this system .*WKV_PREBUILD/);
  });
});
