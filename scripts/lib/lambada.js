'use strict';

// LAMBADA (Paperno et al., "The LAMBADA dataset", arXiv 1606.06031): passages whose last word a reader can guess
// only from the whole passage. Scored as the "lambada_openai" task of lm-evaluation-harness: the context is
// everything before the last space, the target the last word with that space in front.

const { inParallel } = require('./run');

/** What BlinkDL's table of benchmarks says of RWKV-5 World v2 7B ("Eagle 7B"). */
const published = { accuracy: 0.742, perplexity: 3.36 };

/** The context and the last word of a passage; the space between them belongs to the word. */
function splitLastWord(text) {
  const space = text.lastIndexOf(' ');
  if (space <= 0 || space === text.length - 1) return undefined;
  return { context: text.slice(0, space), target: text.slice(space) };
}

/**
 * The passages of a JSON Lines file: an object with a string `text` on each line.
 *
 * @throws naming the line that is something else
 */
function parseLambada(content, name) {
  const items = [];
  content.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '') return;
    const fail = (why) => {
      throw new Error(`${name}, line ${index + 1}: ${why}`);
    };
    let value;
    try {
      value = JSON.parse(line);
    } catch (error) {
      fail(`expected JSON (${error.message})`);
    }
    if (typeof value?.text !== 'string') fail('expected an object with a "text"');
    items.push(splitLastWord(value.text) ?? fail('expected a text of at least two words'));
  });
  if (items.length === 0) throw new Error(`${name}: expected at least one passage, found none`);
  return items;
}

/**
 * The natural logarithm of the probability of `token` under logits [vocabulary], and whether it is the most
 * probable token, of equals the one with the lowest id.
 */
function judge(logits, token) {
  let largest = -Infinity;
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > largest) {
      largest = logits[i];
      best = i;
    }
  }
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  return { logProbability: logits[token] - largest - Math.log(sum), isBest: best === token };
}

/**
 * Scores one passage in a session of its own.
 *
 * @param passage the tokens of the context with what is put in front (at least one), and those of the target
 * @returns the log-probability of the whole target, and whether greedy decoding would have written it
 */
async function scorePassage(model, { context, target }, signal) {
  const session = model.createSession();
  try {
    const { vocabulary } = model.info;
    const first = judge(await session.evaluate(context, { signal }), target[0]);
    let { logProbability, isBest: greedy } = first;
    if (target.length > 1) {
      const logits = await session.evaluate(target.slice(0, -1), { logits: 'all', signal });
      for (let i = 1; i < target.length; i++) {
        const next = judge(logits.subarray((i - 1) * vocabulary, i * vocabulary), target[i]);
        logProbability += next.logProbability;
        greedy &&= next.isBest;
      }
    }
    return { logProbability, greedy };
  } finally {
    session.dispose();
  }
}

/**
 * Scores passages, `sessions` of them at a time, so that the engine steps them together.
 *
 * @param onScored called with each result, in the order in which they come
 */
async function scorePassages(model, passages, { sessions, signal, onScored }) {
  await inParallel(
    passages,
    async (passage) => onScored(await scorePassage(model, passage, signal)),
    sessions,
  );
}

/**
 * Accuracy, the share of passages whose target is what greedy decoding writes, with its standard error over
 * passages; and perplexity, exp of the mean of minus the log-probability of a target.
 */
function summarize(results) {
  const count = results.length;
  const accuracy = results.filter(({ greedy }) => greedy).length / count;
  const mean = results.reduce((sum, { logProbability }) => sum + logProbability, 0) / count;
  return {
    passages: count,
    accuracy,
    accuracyStandardError: Math.sqrt((accuracy * (1 - accuracy)) / count),
    perplexity: Math.exp(-mean),
  };
}

module.exports = { judge, parseLambada, published, scorePassage, scorePassages, summarize };
