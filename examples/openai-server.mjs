// A server that speaks OpenAI's chat protocol, for programs that know it: node examples/openai-server.mjs [FILE]
//
//   curl http://127.0.0.1:8080/v1/chat/completions \
//     -d '{"messages": [{"role": "user", "content": "Tell me a story about a fox."}]}'
//
// Clients of it send the whole conversation each time. Here it is not read again: the chats behind the latest replies
// are kept, and where one of them is what comes before the new message, a fork of it goes on. Whatever runs at the same
// time is computed together. Without FILE it is the embedded model; the environment's PORT says where to listen.

import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { basename } from 'node:path';
import { demoModel, loadModel } from 'wkv';

const file = process.argv[2] ?? demoModel;
const keptChats = 16; // with Eagle 7B, each reply adds a state of 33 MiB
const mostTokens = 4096; // of a reply, where the request has no limit
const ownHosts = ['127.0.0.1', 'localhost'];
const largestBody = 8e6;

const model = await loadModel(file);
const name = basename(file);

/** By the messages that they consist of, the latest last. */
const chats = new Map();

function keep(messages, chat) {
  const key = JSON.stringify(messages);
  chats.get(key)?.dispose();
  chats.delete(key);
  chats.set(key, chat);
  const [[oldest, least]] = chats;
  if (chats.size > keptChats) {
    chats.delete(oldest);
    least.dispose();
  }
}

/** A request that cannot be answered; `status` is HTTP's. */
const refusal = (status, message) => Object.assign(new Error(message), { status });

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    // What is too much is read, too, and dropped: clients hear an answer only after all that they have to say. Those
    // that never come to an end are cut off by Node's `requestTimeout`.
    if (text.length <= largestBody) text += chunk;
  }
  if (text.length > largestBody) throw refusal(413, `the body is longer than ${largestBody} characters`);
  try {
    return Object(JSON.parse(text));
  } catch {
    throw refusal(400, 'the body is not JSON');
  }
}

/** OpenAI's messages as a chat takes them: their texts may come in parts. */
function messagesOf({ messages }) {
  if (!Array.isArray(messages)) throw refusal(400, 'messages: expected an array');
  return messages.map((message) => {
    const { role, content } = Object(message);
    const text = Array.isArray(content) ? content.map((part) => Object(part).text).join('') : content;
    return { role: role === 'developer' ? 'system' : role, content: text };
  });
}

/** OpenAI's options that there are here too. `null` stands for the default there. */
function optionsOf(body, chat) {
  if ((body.n ?? 1) !== 1) throw refusal(400, 'n: there is one choice only');
  if (Object.keys(body.tools ?? []).length > 0) throw refusal(400, 'tools: models are not told of them here');
  const options = {
    temperature: body.temperature,
    topP: body.top_p,
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? mostTokens,
    stop: [...chat.stop, ...[body.stop ?? []].flat()], // the end of a turn, and what the client asks for
    seed: body.seed,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    logitBias: body.logit_bias,
  };
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => (value ?? undefined) !== undefined),
  );
}

async function complete(request, response) {
  const body = await bodyOf(request);
  const messages = messagesOf(body);
  const said = messages.pop();
  if (said?.role !== 'user') throw refusal(400, "messages: the last one has to be the user's");

  const gone = new AbortController(); // a client that has left needs no more text
  response.on('close', () => gone.abort());
  // Without a seed of its own, each fork would give the same reply.
  const seed = randomInt(2 ** 48 - 1);
  const chat = chats.get(JSON.stringify(messages))?.fork({ seed }) ?? model.createChat({ messages });
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: name };
  const send = async (object) => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
    const data = typeof object === 'string' ? object : JSON.stringify(object);
    if (!response.write(`data: ${data}\n\n`)) await once(response, 'drain', { signal: gone.signal });
  };
  const chunk = (delta, finish_reason = null) =>
    send({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] });

  let content = '';
  let last;
  try {
    for await (const part of chat.send(said.content, { ...optionsOf(body, chat), signal: gone.signal })) {
      if (body.stream) await chunk({ ...(content === '' && { role: 'assistant' }), content: part.text });
      content += part.text;
      last = part;
    }
  } catch (error) {
    chat.dispose();
    throw error;
  }
  keep([...messages, said, { role: 'assistant', content }], chat);

  const finishReason = last.finishReason === 'length' ? 'length' : 'stop';
  const { promptTokens, completionTokens } = last.usage;
  const usage = {
    prompt_tokens: promptTokens, // those that had to be read
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
  if (body.stream) {
    await chunk({}, finishReason);
    if (body.stream_options?.include_usage)
      await send({ ...head, object: 'chat.completion.chunk', choices: [], usage });
    await send('[DONE]');
    response.end();
  } else {
    const message = { role: 'assistant', content };
    const choices = [{ index: 0, message, finish_reason: finishReason }];
    answer(response, 200, { ...head, object: 'chat.completion', choices, usage });
  }
}

function answer(response, status, object) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(object));
}

function statusOf({ status, code }) {
  if (status !== undefined) return status;
  if (code === 'ERR_WKV_MEMORY') return 503;
  return /^ERR_(INVALID_ARG|OUT_OF_RANGE|WKV_TOKEN)/.test(code) ? 400 : 500;
}

const routes = {
  'POST /v1/chat/completions': complete,
  'GET /v1/models': (request, response) =>
    answer(response, 200, { object: 'list', data: [{ id: name, object: 'model', owned_by: 'wkv' }] }),
};

const server = createServer(async (request, response) => {
  try {
    // A web page may have a name that leads here.
    const host = request.headers.host ?? '';
    if (!ownHosts.includes(host.replace(/:\d+$/, ''))) throw refusal(403, `this is not "${host}"`);
    const route = `${request.method} ${request.url.split('?')[0]}`;
    if (!Object.hasOwn(routes, route)) throw refusal(404, `there is no ${route}`);
    await routes[route](request, response);
  } catch (error) {
    if (response.destroyed) return; // nobody waits for it any more
    if (response.headersSent) response.destroy(error);
    else
      answer(response, statusOf(error), {
        error: { message: error.message, type: error.name, code: error.code ?? null },
      });
  }
});

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`${name} at http://127.0.0.1:${server.address().port}/v1`);
});
process.once('SIGINT', async () => {
  server.close();
  server.closeAllConnections();
  await model.dispose();
});
