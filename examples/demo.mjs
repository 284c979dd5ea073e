// What a session can do that a chat window cannot: npm run demo.
//
// The embedded model tells a story, its session is forked to answer two questions at once, then saved in the middle
// of another story, and resumed from the file by a freshly loaded model, which goes on exactly where the first did.
// Another RWKV-5.2 model of the same chat format: node examples/demo.mjs FILE

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { demoModel, loadModel, State } from 'wkv';

const file = process.argv[2] ?? demoModel;
const temperature = 0.3;
const terminal = process.stdout.isTTY;
const style = (code, text) => (terminal ? `\x1b[${code}m${text}\x1b[0m` : text);

const write = (text) => process.stdout.write(text);
const title = (text) =>
  write(`\n${style('1;36', `── ${text} `.padEnd(Math.min(process.stdout.columns ?? 78, 78), '─'))}\n\n`);
const note = (text) => write(`${style(2, text)}\n`);
const milliseconds = (begin) => `${(performance.now() - begin).toFixed(1)} ms`;
const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

// Whoever reads the output may have enough of it: npm run demo | head
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

// The World chat format: a blank line ends an answer. It is not delivered, and the session does not remember it.
const ask = (question) => `User: ${question}\n\nAssistant:`;
const askNext = (question) => `\n\n${ask(question)}`;
const stop = '\n\n';

/** Writes text as it comes; on a terminal it breaks lines between words. */
function createWriter() {
  const width = Math.min(process.stdout.columns ?? 80, 80) - 1;
  let column = 0;
  let word = '';
  const flush = () => {
    const length = [...word].length + (/\p{Emoji_Presentation}/u.test(word) ? 1 : 0);
    if (terminal && column > 0 && column + length > width) {
      write('\n');
      column = 0;
      word = word.trimStart();
    }
    write(word);
    column += length;
    word = '';
  };
  return {
    push(text) {
      for (const character of text) {
        if (character === ' ') flush();
        word += character;
      }
    },
    end() {
      flush();
      write('\n');
    },
  };
}

/** Streams an answer to the terminal; `until` may end it early. Returns its tokens. */
async function show(session, prompt, options, until = () => false) {
  const writer = createWriter();
  const tokens = [];
  let text = '';
  for await (const part of session.generate(prompt, {
    maxTokens: 2000,
    stop,
    ...options,
  })) {
    // After "Assistant:" every answer begins with a space.
    writer.push(text === '' ? part.text.trimStart() : part.text);
    tokens.push(...part.tokens);
    text += part.text;
    if (until(text)) break;
  }
  writer.end();
  return { tokens, text };
}

const folder = await mkdtemp(join(tmpdir(), 'wkv-demo-'));
try {
  title('A model');
  let begin = performance.now();
  let model = await loadModel(file);
  const { info } = model;
  note(`${size((await stat(file)).size)} of weights loaded in ${milliseconds(begin)}:`);
  note(
    `RWKV ${info.version}, ${(info.parameters / 1e6).toFixed(2)} million parameters, ${info.layers} layers, ` +
      `${info.weights} on ${info.isa}`,
  );

  title('It tells a story');
  let session = model.createSession();
  const question = 'Tell me a story about a fox.';
  write(style(1, `User: ${question}`) + '\n\n');
  begin = performance.now();
  const story = await show(session, ask(question), { seed: 27, temperature });
  const seconds = (performance.now() - begin) / 1000;
  note(`\n${story.tokens.length} tokens, ${(story.tokens.length / seconds).toFixed(0)} a second.`);
  note(`All that the session remembers is ${size(info.stateBytes)}, after ten tokens or ten million.`);

  title('The session is forked, and continues in two ways');
  begin = performance.now();
  const branches = [session.fork(), session.fork()];
  const forked = milliseconds(begin);
  const questions = ["What was the fox's name?", 'What did they eat?'];
  const answers = await Promise.all(
    branches.map((branch, i) => branch.complete(askNext(questions[i]), { temperature: 0, stop })),
  );
  answers.forEach(({ text }, i) => write(`${style(1, `User: ${questions[i]}`)}\n${text.trim()}\n\n`));
  note(`Two forks took ${forked}. Neither branch read the story again, and neither knows of the other.`);

  title('It is saved in the middle of a sentence');
  const other = 'Tell me a story about a cat.';
  write(style(1, `User: ${other}`) + '\n\n');
  await show(
    session,
    askNext(other),
    { seed: 3, temperature },
    (text) => text.length >= 120 && text.endsWith(' '),
  );
  const saved = join(folder, 'session.wkv');
  begin = performance.now();
  await writeFile(saved, session.state.serialize());
  note(
    `\nSaved in ${milliseconds(begin)}: ${size((await stat(saved)).size)}; ` +
      `as f16 it would be ${size(session.state.serialize({ precision: 'f16' }).length)}.`,
  );

  title('The session goes on');
  const first = await show(session, [], { temperature });
  const firstState = session.state.serialize();
  await model.dispose();

  title('The model is loaded anew, the session resumed from the file');
  begin = performance.now();
  model = await loadModel(file);
  session = model.createSession({ state: State.deserialize(await readFile(saved)) });
  const resumed = milliseconds(begin);
  const second = await show(session, [], { temperature });
  const sameTokens = first.tokens.join() === second.tokens.join();
  const sameState = Buffer.compare(firstState, session.state.serialize()) === 0;
  await model.dispose();
  note(`\nModel and session were there after ${resumed}.`);
  if (sameTokens && sameState && first.text === second.text) {
    write(
      style(
        32,
        `✓ The two continuations are identical: ${second.tokens.length} tokens, and every bit of the state after them.\n`,
      ),
    );
  } else {
    write(style(31, '✗ The two continuations differ. That must not happen: please report it.\n'));
    process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
