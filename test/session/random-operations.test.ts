import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  Sampler,
  State,
  Tokenizer,
  loadModel,
  type GenerateOptions,
  type Model,
  type Session,
} from '../../lib/index';
import { sameBits } from '../support/compare';
import { expectFailure, thrown } from '../support/failure';
import { randomNumbers } from '../support/random-model';
import { smallShape, temporaryFolder, writeRandomModel } from '../support/model';

// Calls on a few sessions in random order, many at the same time; some are aborted, left, or forked in the middle. What
// a session has to be is kept in the plainest form: the tokens that each of its calls has evaluated. In the end, a fresh
// session that evaluates just these is in the same state, and what was generated is what a Sampler draws from its logits.

/** WKV_SEQUENCES=5000 tries so many of each model; WKV_SEQUENCE=123 begins with that one. */
const first = Number(process.env['WKV_SEQUENCE'] ?? 1);
const seeds = Array.from({ length: Number(process.env['WKV_SEQUENCES'] ?? 25) }, (_, i) => first + i);

/** All texts of up to three of these: a stop string begins and ends anywhere in them. */
const letters = ['a', 'b', '\n'];
const pairs = letters.flatMap((a) => letters.map((b) => a + b));
const texts = [...letters, ...pairs, ...pairs.flatMap((a) => letters.map((b) => a + b))];
const vocabulary = 1 + texts.length;
const stops = ['\n\n', 'bab', 'ab', 'aab\n', 'bbbb'];
const calls = ['evaluate', 'complete', 'complete', 'generate', 'generate', 'fork', 'save'] as const;
const busy = { code: 'ERR_WKV_BUSY' };

const folder = temporaryFolder();
let tokenizer: Tokenizer;
let full: Model;
let half: Model;
beforeAll(async () => {
  const file = join(folder, 'vocabulary.txt');
  writeFileSync(file, texts.map((text, i) => `${i + 1} ${JSON.stringify(text)} ${text.length}\n`).join(''));
  tokenizer = Tokenizer.fromVocabulary(file);
  const path = await writeRandomModel(folder, 'small', { ...smallShape, embedding: 32, vocabulary });
  full = await loadModel(path, { tokenizer });
  half = await loadModel(path, { tokenizer, statePrecision: 'f16' });
});
afterAll(() => Promise.all([full.dispose(), half.dispose()]));

/** What each call on a session has evaluated: no tokens where it has left the session as it was. */
type Calls = Promise<readonly number[]>[];

interface Tracked {
  readonly session: Session;
  readonly calls: Calls;
  /** How many generations have begun that have not ended. */
  iterated: number;
}

interface Generated {
  /** The calls before it. */
  readonly calls: Calls;
  readonly prompt: number[];
  readonly options: GenerateOptions & { stop: string[]; maxTokens: number };
  text: string;
  finishReason?: string | undefined;
}

/** A fresh session that has evaluated this, call by call: with 'f16' each call rounds the state. */
async function replayed(model: Model, calls: Calls): Promise<Session> {
  const session = model.createSession();
  for (const tokens of await Promise.all(calls)) {
    if (tokens.length > 0) await session.evaluate(tokens, { logits: 'none' });
  }
  return session;
}

async function expectReplayed(model: Model, { session: found, calls }: Tracked): Promise<void> {
  const expected = await replayed(model, calls);
  expect(found.state.tokens).toBe(expected.state.tokens);
  expect(sameBits(found.state.values(), expected.state.values())).toBe(true);
  if (expected.state.tokens === 0) return;
  expect(sameBits(await found.evaluate([]), await expected.evaluate([]))).toBe(true);
}

/** Where the first stop string that is complete begins: the longest of those that end there. */
function stopAt(text: string, stop: readonly string[]): number | undefined {
  const found = stop.filter((each) => text.includes(each)).map((each) => [text.indexOf(each), each.length]);
  const places = found.map(([at = 0, length = 0]) => ({ at, end: at + length }));
  return places.sort((a, b) => a.end - b.end || a.at - b.at)[0]?.at;
}

/** Draws the text with a Sampler, token by token. */
async function expectDrawn(model: Model, generated: Generated): Promise<void> {
  const { prompt, text, finishReason } = generated;
  const { maxTokens, stop, ...drawing } = generated.options;
  const sampler = new Sampler(drawing);
  const before = await replayed(model, generated.calls);
  // A generation is one call: nothing is rounded in between.
  const session = full.createSession({ state: before.state });
  let logits = await session.evaluate(prompt);
  let drawn = '';
  for (let i = 0; i < maxTokens && stopAt(drawn, stop) === undefined; i++) {
    const token = sampler.sample(logits);
    drawn += tokenizer.decode([token]);
    logits = await session.evaluate([token]);
  }
  const at = stopAt(drawn, stop);
  const expected = { text: drawn.slice(0, at), finishReason: at === undefined ? 'length' : 'stop' };
  if (finishReason === undefined) expect(expected.text.startsWith(text)).toBe(true);
  else expect({ text, finishReason }).toEqual(expected);
}

async function turns(number: number): Promise<void> {
  for (let i = 0; i < number; i++) await nextTurn();
}

/** Makes calls on sessions. What is random is drawn before a call begins: then a seed gives the same calls. */
class Sequence {
  readonly sessions: Tracked[];
  readonly generated: Generated[] = [];
  readonly #model: Model;
  readonly #random: () => number;

  constructor(model: Model, seed: number) {
    this.#model = model;
    this.#random = randomNumbers(seed);
    this.sessions = [{ session: model.createSession(), calls: [], iterated: 0 }];
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  step(): void {
    const tracked = this.sessions[this.below(this.sessions.length)]!;
    this[calls[this.below(calls.length)]!](tracked);
  }

  evaluate(tracked: Tracked): void {
    const [tokens, signal] = [this.#tokens(), this.#signal()];
    const kind = (['evaluate', 'score'] as const)[this.below(2)]!;
    const call: Promise<unknown> = tracked.session[kind](tokens, { signal });
    const evaluated = call.then(() => tokens);
    this.#note(tracked, evaluated, signal);
  }

  complete(tracked: Tracked): void {
    const [generated, signal] = [this.#generated(tracked), this.#signal()];
    const { prompt, options } = generated;
    const call = tracked.session.complete(prompt, { ...options, signal });
    const evaluated = call.then(({ text, tokens, finishReason }) => {
      this.generated.push({ ...generated, text, finishReason });
      return [...prompt, ...tokens];
    });
    this.#note(tracked, evaluated, signal);
  }

  /** Iterates over a generation, and perhaps leaves it, fails, or aborts it after some parts. */
  generate(tracked: Tracked): void {
    const generated = this.#generated(tracked);
    const [last, wait, end] = [1 + this.below(12), this.below(3), this.below(3)];
    const iterate = async (): Promise<number[]> => {
      const { prompt, options } = generated;
      const controller = new AbortController();
      const parts = tracked.session.generate(prompt, { ...options, signal: controller.signal });
      const tokens: number[] = [];
      let received = 0;
      try {
        for await (const part of parts) {
          received += 1;
          generated.text += part.text;
          generated.finishReason = part.finishReason;
          tokens.push(...part.tokens);
          if (part.finishReason !== undefined) break;
          const error = thrown(() => tracked.session.fork());
          expectFailure(error, busy);
          await turns(wait);
          if (received < last) continue;
          if (end === 0) break;
          if (end === 1) throw new Error('left');
          controller.abort(new Error('left'));
        }
      } catch (error) {
        if (received < last) throw error;
        expectFailure(error, { message: /^message: left$/ });
      }
      this.generated.push(generated);
      // Where it was left inside a token, what was delivered of that has been evaluated too.
      const rest = generated.text.slice(tokenizer.decode(tokens).length);
      return [...prompt, ...tokens, ...tokenizer.encode(rest)];
    };
    const evaluated = iterate().finally(() => {
      tracked.iterated -= 1;
    });
    this.#note(tracked, evaluated);
    tracked.iterated += 1;
  }

  fork(tracked: Tracked): void {
    this.#branch(tracked, () => tracked.session.fork({ seed: 1 }), tracked.iterated > 0);
  }

  save(tracked: Tracked): void {
    const resumed = (): Session => {
      const state = State.deserialize(tracked.session.state.serialize());
      return this.#model.createSession({ state });
    };
    this.#branch(tracked, resumed, tracked.calls.length > 0);
  }

  #branch({ calls }: Tracked, branch: () => Session, mayBeBusy: boolean): void {
    try {
      this.sessions.push({ session: branch(), calls: [...calls], iterated: 0 });
    } catch (error) {
      if (!mayBeBusy) throw error;
      expectFailure(error, busy);
    }
  }

  /** Notes what a call evaluates. It may be aborted, and is refused while a generation is iterated. */
  #note(tracked: Tracked, call: Promise<number[]>, signal?: AbortSignal): void {
    const mayBeBusy = tracked.iterated > 0;
    const evaluated = call.catch((error: unknown) => {
      if (signal?.aborted === true && error === signal.reason) return [];
      if (!mayBeBusy) throw error;
      expectFailure(error, busy);
      return [];
    });
    tracked.calls.push(evaluated);
  }

  #tokens(): number[] {
    const most = this.below(8) === 0 ? 300 : 8;
    return Array.from({ length: 1 + this.below(most) }, () => this.below(vocabulary));
  }

  /** None, or one that is aborted after some turns of the event loop. */
  #signal(): AbortSignal | undefined {
    const wait = this.below(100);
    if (wait > 60) return undefined;
    const controller = new AbortController();
    void turns(wait).then(() => {
      controller.abort(new Error('aborted'));
    });
    return controller.signal;
  }

  #generated({ calls }: Tracked): Generated {
    const options = {
      maxTokens: this.below(40),
      stop: stops.slice(0, this.below(stops.length + 1)),
      temperature: this.below(3),
      topP: this.#random(),
      penaltyExempt: [],
      bannedTokens: [0],
      seed: this.below(1000),
    };
    return { calls: [...calls], prompt: this.#tokens(), options, text: '' };
  }
}

describe.each([
  ['f32', () => full],
  ['f16', () => half],
])('Random calls with states in %s', (_precision, model) => {
  test.each(seeds)('leave what they should: %d', async (seed) => {
    const sequence = new Sequence(model(), seed);
    for (let i = 0; i < 25; i++) {
      sequence.step();
      await turns(sequence.below(3));
    }
    const { sessions, generated } = sequence;
    await Promise.all(sessions.flatMap((each) => each.calls));
    for (const each of generated) await expectDrawn(model(), each);
    for (const each of sessions) await expectReplayed(model(), each);
    for (const { session } of sessions) session.dispose();
  });
});
