'use strict';

require('./lib/require-node').requireNode();

const fs = require('node:fs');
const path = require('node:path');

const { root } = require('./lib/run');

const needed = ['dist/index.js', 'node_modules/commander', 'node_modules/cli-progress'];
if (!needed.every((file) => fs.existsSync(path.join(root, file)))) {
  console.error('The checkout is not built yet. Run "npm ci" and "npm run build" first.');
  process.exit(1);
}

const { SingleBar } = require('cli-progress');
const { Command, InvalidArgumentError, Option } = require('commander');
const { loadModel } = require('..');
const { parseLambada, published, scorePassages, summarize } = require('./lib/lambada');

const besideCheckout = path.join(root, '../shared/data/lambada_test.jsonl');
/** What is put in front of a context. */
const pads = {
  newline: (tokenizer) => tokenizer.encode('\n'),
  zero: ({ endOfText }) => [endOfText],
  none: () => [],
};
/** The number of parameters of Eagle 7B. */
const eagleParameters = 7_518_044_160;

const description = `Measures LAMBADA with an Eagle 7B weight file and shows accuracy and perplexity beside the published ones.

The method is that of the task "lambada_openai" of lm-evaluation-harness: the last word of a passage, with the space \
before it, is the target; a passage counts as right if every token of its target is the most probable one; perplexity \
is exp(-mean log-probability of a target).`;

const help = `
--pad: BlinkDL's script for this harness (run_lm_eval.py of ChatRWKV) puts a newline in
front of every context, and names token 0 as another possibility. Which of the two the
published figures were made with is not on record: where they differ from yours a
little, try the other.

--lambada: misc/lambada_test.jsonl of https://github.com/BlinkDL/ChatRWKV is the list
that was used, 5,153 passages.

All passages of it take hours on a few cores; --limit 500 gives the accuracy to about
2 points.

Examples:
  npm run verify:eagle -- eagle.pth --lambada lambada_test.jsonl
  npm run verify:eagle -- eagle.pth --limit 500 --threads 8 --json > result.json`;

function positive(highest) {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < 1 || value > highest) {
      throw new InvalidArgumentError(`Expected an integer from 1 to ${highest}.`);
    }
    return value;
  };
}

function readPassages(file) {
  if (file === undefined) {
    throw new Error(
      'There is no list of passages: give --lambada PATH, for example of misc/lambada_test.jsonl from ' +
        'https://github.com/BlinkDL/ChatRWKV',
    );
  }
  return parseLambada(fs.readFileSync(file, 'utf8'), file);
}

/** A progress bar on standard error; where that is no terminal, a line twice a minute. */
function startBar(format, total) {
  const bar = new SingleBar({
    format,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 200,
    gracefulExit: false,
    noTTYOutput: true,
    notTTYSchedule: 30_000,
  });
  bar.start(total, 0, { note: '' });
  return bar;
}

async function load(file, { weights, threads }, signal) {
  let bar;
  try {
    return await loadModel(file, {
      weights,
      ...(threads === undefined ? {} : { threads }),
      signal,
      onProgress: ({ completed, total }) => {
        bar ??= startBar('Loading {bar} {percentage} % | {eta_formatted} left', total);
        bar.update(completed);
      },
    });
  } finally {
    bar?.stop();
  }
}

function tokenize(model, items, pad) {
  const { tokenizer } = model;
  if (tokenizer === undefined) {
    throw new Error('The model has no tokenizer: put rwkv_vocab_v20230424.txt beside its file.');
  }
  const front = pads[pad](tokenizer);
  return items.map(({ context, target }) => ({
    context: Uint32Array.of(...front, ...tokenizer.encode(context)),
    target: tokenizer.encode(target),
  }));
}

async function measure(model, passages, sessions, signal) {
  const results = [];
  const bar = startBar('Scoring {bar} {value}/{total} | {note} | {eta_formatted} left', passages.length);
  try {
    await scorePassages(model, passages, {
      sessions,
      signal,
      onScored: (score) => {
        results.push(score);
        const { accuracy, perplexity } = summarize(results);
        bar.increment({
          note: `accuracy ${(accuracy * 100).toFixed(1)} %, perplexity ${perplexity.toPrecision(3)}`,
        });
      },
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    bar.stop();
  }
  return results;
}

function table({ info, summary, total, pad, seconds }) {
  const percent = (value, digits) => `${(value * 100).toFixed(digits)} %`;
  const perplexity =
    summary.perplexity < 1e4 ? summary.perplexity.toFixed(3) : summary.perplexity.toExponential(2);
  const parameters = `${(info.parameters / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} million`;
  const row = (name, here, there) => `${name.padEnd(16)}${here.padEnd(34)}${there}`;
  const lines = [
    `LAMBADA, ${summary.passages} of ${total} passages, in ${seconds.toFixed(0)} s`,
    `RWKV ${info.version}, ${parameters} parameters, ${info.weights}, ${info.isa}; in front of a context: ${pad}`,
    '',
    row('', 'here', 'published'),
    row(
      'accuracy',
      `${percent(summary.accuracy, 2)}, standard error ${percent(summary.accuracyStandardError, 2)}`,
      percent(published.accuracy, 1),
    ),
    row('perplexity', perplexity, String(published.perplexity)),
  ];
  if (info.parameters !== eagleParameters) {
    lines.push('', 'This model is not Eagle 7B: the published figures are not its own.');
  }
  if (summary.passages < total) lines.push('', 'The published figures are those of all passages.');
  return lines.join('\n');
}

async function verify(file, options) {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt);
  let model;
  try {
    const all = readPassages(options.lambada);
    const items = all.slice(0, options.limit);
    model = await load(file, options, interrupt.signal);
    const passages = tokenize(model, items, options.pad);
    const begin = performance.now();
    const results = await measure(model, passages, options.sessions, interrupt.signal);
    if (results.length > 0) {
      const { info } = model;
      const summary = summarize(results);
      const seconds = (performance.now() - begin) / 1000;
      const details = { total: all.length, pad: options.pad, seconds };
      console.log(
        options.json
          ? JSON.stringify({ file, ...summary, ...details, published, info }, null, 2)
          : table({ info, summary, ...details }),
      );
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', onInterrupt);
    await model?.dispose();
  }
  if (interrupt.signal.aborted) {
    console.error('Interrupted.');
    process.exitCode = 1;
  }
}

const program = new Command('npm run verify:eagle --')
  .description(description)
  .argument('<file>', 'the weight file (.pth, .safetensors, .gguf and so on), or a Hugging Face directory')
  .option(
    '--lambada <path>',
    'the list of passages, JSON Lines with a "text" each',
    fs.existsSync(besideCheckout) ? besideCheckout : undefined,
  )
  .option('--limit <n>', 'only the first n passages', positive(1e9))
  .addOption(
    new Option('--weights <type>', 'the type to keep matrices in')
      .choices(['auto', 'f32', 'f16', 'bf16', 'int8', 'int4'])
      .default('auto'),
  )
  .option('--threads <n>', 'threads that compute; by default what the process may use', positive(256))
  .option('--sessions <n>', 'passages that are evaluated together', positive(64), 8)
  .addOption(
    new Option('--pad <what>', 'what is put in front of a context')
      .choices(Object.keys(pads))
      .default('newline'),
  )
  .option('--json', 'print the result as JSON')
  .addHelpText('after', help)
  .showHelpAfterError('(--help shows what there is)')
  .exitOverride()
  .action(verify);

program.parseAsync().catch((error) => {
  // Commander has said what was wrong already; asking for help is not wrong.
  if (error.code?.startsWith('commander.')) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(error.message);
    process.exitCode = 1;
  }
});
