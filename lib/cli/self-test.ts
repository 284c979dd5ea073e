import { library } from './library';
import type { Model } from '../model';

interface SelfTest {
  /** What was found, in words. */
  found: string;
  failures: string[];
}

const text = 'User: Tell me a story about a fox.\n\nAssistant:';
const generatedTokens = 24;
/** No token depends on where a prompt is cut: the first part ends inside a word, the second is one byte. */
const cuts = [13, 14];

/**
 * Loads the embedded model and checks what must be so on every machine: a text it was trained for is far more
 * probable to it than chance, the same tokens give the same bits however they are fed, and generating without a
 * random choice gives the same text twice.
 */
export async function testEmbeddedModel(): Promise<SelfTest> {
  const { demoModel, loadModel } = library();
  const model = await loadModel(demoModel);
  try {
    const tokens = Uint32Array.from(Buffer.from(text));
    const failures: string[] = [];
    const probability = await typicalProbability(model, tokens);
    const chance = 1 / model.info.vocabulary;
    // A model of random weights is at chance; a trained one is above a tenth.
    if (!(probability > 4 * chance)) {
      failures.push(`its own kind of text is no likelier to it than chance (${probability})`);
    }
    if (!(await sameBits(model, tokens)))
      failures.push('a text in pieces gives other bits than the text as a whole');
    const [first, second] = [await greedy(model), await greedy(model)];
    if (first !== second) failures.push('generating twice without a random choice gives two texts');
    return { found: first, failures };
  } finally {
    await model.dispose();
  }
}

/** The geometric mean of the probabilities of a text's tokens, each given those before it. */
async function typicalProbability(model: Model, tokens: Uint32Array): Promise<number> {
  const scores = await model.createSession().score(tokens);
  return Math.exp(scores.subarray(1).reduce((sum, score) => sum + score, 0) / (scores.length - 1));
}

async function sameBits(model: Model, tokens: Uint32Array): Promise<boolean> {
  const whole = model.createSession();
  const pieces = model.createSession();
  const expected = await whole.evaluate(tokens);
  let found = expected;
  for (const [i, end] of [...cuts, tokens.length].entries()) {
    found = await pieces.evaluate(tokens.subarray(cuts[i - 1] ?? 0, end));
  }
  return (
    expected.length === model.info.vocabulary &&
    expected.every((value, i) => Number.isFinite(value) && Object.is(value, found[i]))
  );
}

async function greedy(model: Model): Promise<string> {
  const options = { temperature: 0, maxTokens: generatedTokens };
  return (await model.createSession().complete(text, options)).text;
}
