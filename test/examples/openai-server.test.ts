import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import OpenAI from 'openai';
import { demoModel, loadModel, type Model } from '../../lib/index';
import { describeUnless, withoutDemoModel } from '../support/unless';

const root = join(__dirname, '../..');
const options = { model: 'any', temperature: 0.3, seed: 3, max_completion_tokens: 60 };
const story = { role: 'user', content: 'Tell me a story about a fox.' } as const;
const question = { role: 'user', content: "What was the fox's name?" } as const;

describeUnless(withoutDemoModel)('examples/openai-server.mjs', () => {
  let server: ChildProcess;
  let url: string;
  let client: OpenAI;
  let model: Model;

  beforeAll(async () => {
    model = await loadModel(demoModel);
    server = spawn(process.execPath, ['examples/openai-server.mjs'], {
      cwd: root,
      env: { ...process.env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(server.stdout!, 'data')) as [Buffer];
    url = /http:\S+/.exec(String(line))![0];
    client = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 });
  });

  afterAll(async () => {
    await model.dispose();
    const ended = once(server, 'exit');
    server.kill('SIGINT');
    // It ends by itself, as nothing is left to do.
    expect(await ended).toEqual([0, null]);
  });

  test('says which model it has', async () => {
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual(['wkv-demo.pth']);
  });

  test('answers as a chat does, and does not read the conversation again', async () => {
    const chat = model.createChat();
    const given = { temperature: 0.3, seed: 3, maxTokens: 60 };
    const expected = [await chat.complete(story.content, given)];
    expected.push(await chat.complete(question.content, given));

    const first = await client.chat.completions.create({ ...options, messages: [story] });
    const [choice] = first.choices;
    expect(choice).toMatchObject({
      message: { role: 'assistant', content: expected[0]!.text },
      finish_reason: expected[0]!.finishReason,
    });
    const messages = [story, choice!.message, question];
    const second = await client.chat.completions.create({ ...options, messages });
    expect(second.choices[0]!.message.content).toBe(expected[1]!.text);
    const { promptTokens, completionTokens } = expected[1]!.usage;
    expect(second.usage).toMatchObject({ prompt_tokens: promptTokens, completion_tokens: completionTokens });

    // What was never said here is read as a whole.
    const other = [story, { role: 'assistant', content: 'No.' } as const, question];
    const third = await client.chat.completions.create({ ...options, messages: other });
    expect(third.usage!.prompt_tokens).toBeGreaterThan(promptTokens);
  });

  test('streams, to several clients at once', async () => {
    const whole = await client.chat.completions.create({ ...options, messages: [story] });
    const streamed = async (): Promise<OpenAI.ChatCompletionChunk[]> => {
      const stream = await client.chat.completions.create({
        ...options,
        messages: [story],
        stream: true,
        stream_options: { include_usage: true },
      });
      const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    };
    for (const chunks of await Promise.all([streamed(), streamed(), streamed()])) {
      const text = chunks.map(({ choices: [choice] }) => choice?.delta.content ?? '').join('');
      expect(text).toBe(whole.choices[0]!.message.content);
      expect(chunks.length).toBeGreaterThan(10);
      const [end, usage] = chunks.slice(-2);
      expect(end!.choices[0]!.finish_reason).toBe(whole.choices[0]!.finish_reason);
      expect(usage!.usage).toEqual(whole.usage);
    }
  });

  test('goes on where a client leaves in the middle of a reply', async () => {
    const stream = await client.chat.completions.create({ ...options, messages: [story], stream: true });
    expect(await stream[Symbol.asyncIterator]().next()).toMatchObject({ done: false });
    stream.controller.abort();
    const { choices } = await client.chat.completions.create({ ...options, messages: [story] });
    expect(choices).toHaveLength(1);
  });

  test('ends a turn beside what a client wants a reply to end at', async () => {
    const given = { ...options, seed: 4, max_completion_tokens: 1500 };
    const whole = await client.chat.completions.create({ ...given, messages: [story] });
    expect(whole.choices[0]!.finish_reason).toBe('stop');
    for (const stop of [[], 'Observation:', ['Observation:']]) {
      const { choices } = await client.chat.completions.create({ ...given, stop, messages: [story] });
      expect(choices).toEqual(whole.choices);
    }
    const [text = ''] = /\w+\./.exec(whole.choices[0]!.message.content!) ?? [];
    const cut = await client.chat.completions.create({ ...given, stop: text, messages: [story] });
    expect(cut.choices[0]!.message.content).toBe(whole.choices[0]!.message.content!.split(text)[0]);
  });

  test('gives another reply each time, unless it is asked for a seed', async () => {
    const first = await client.chat.completions.create({ ...options, messages: [story] });
    const another = { role: 'user', content: 'Tell me another story.' } as const;
    const messages = [story, first.choices[0]!.message, another];
    const replies = await Promise.all(
      [null, null, null, 5, 5].map(async (seed) => {
        // At these odds no two replies begin alike.
        const body = { ...options, temperature: 2, top_p: 1, seed, messages };
        const { choices } = await client.chat.completions.create(body);
        return choices[0]!.message.content;
      }),
    );
    expect(replies[3]).toBe(replies[4]);
    expect(new Set(replies).size).toBe(4);
  });

  test('says what is wrong with a request', async () => {
    const refusal = (body: object): Promise<unknown> =>
      client.chat.completions.create({ ...options, messages: [story], ...body }).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await refusal({ temperature: 'hot' })).toMatchObject({
      status: 400,
      message: expect.stringContaining('options.temperature: expected a number') as string,
    });
    expect(await refusal({ logit_bias: { 99999: 1 } })).toMatchObject({ status: 400 });
    expect(await refusal({ n: 2 })).toMatchObject({ status: 400 });
    expect(await refusal({ tools: [{ type: 'function' }] })).toMatchObject({ status: 400 });
    for (const messages of [undefined, [], [story, { role: 'tool', content: '' }], [{ role: 'user' }]])
      expect(await refusal({ messages })).toMatchObject({ status: 400 });
    const plain = await fetch(`${url}/chat/completions`, { method: 'POST', body: 'hello' });
    expect(plain.status).toBe(400);
    expect(await plain.json()).toMatchObject({ error: { message: 'the body is not JSON' } });
    expect((await fetch(`${url}/embeddings`, { method: 'POST' })).status).toBe(404);
    const long = await fetch(`${url}/chat/completions`, { method: 'POST', body: ' '.repeat(2e7) });
    expect([long.status, long.headers.get('connection')]).toEqual([413, 'keep-alive']); // all of it was read
    expect(await long.json()).toMatchObject({
      error: { message: expect.stringContaining('8000000') as string },
    });
  });

  test('is not there for a web page whose name leads to it', async () => {
    for (const [path, status] of [
      ['/v1/models', 403],
      ['//localhost/v1/models', 403],
      ['http://localhost/v1/models', 403],
    ] as const) {
      const request = get(url, { path, headers: { host: 'example.org' } });
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      expect([path, response.statusCode]).toEqual([path, status]);
      response.resume();
    }
  });
});
