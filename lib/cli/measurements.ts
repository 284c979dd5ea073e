import { secondsSince } from './generation';
import { library } from './library';
import { readCeiling } from './read-ceiling';
import { isSetByMemory } from './weights';
import type { Model } from '../model';
import type { Session } from '../session';
import { isQuantized } from '../quantized';

/** As many as one step of the engine takes: a longer prompt is no faster. */
export const promptTokens = 128;
/** More would say the same, and take the memory of their states. */
const maxSessions = 16;

// What a measurement in a round takes at least, in seconds; small models do many steps meanwhile.
const minDecodingSeconds = 0.5;
const minPromptSeconds = 0.3;
const minSessionsSeconds = 0.5;

/** What is measured in one round; the ceilings in the same seconds as what they are ceilings of. */
export interface Round {
  /** Bytes that the threads read in a second; null where memory is not the limit, too little is free, or on a GPU. */
  read: number | null;
  /** Tokens per second of one session that evaluates one token after another. */
  decode: number;
  /** Operations per second at most; null where no ceiling is known. */
  peak: number | null;
  /** Tokens per second of a prompt. */
  prompt: number;
  /** Tokens per second of all sessions together. */
  together: number;
}

interface Measurements {
  rounds: Round[];
  /** How many sessions decoded together. */
  sessions: number;
  /** Resident memory of the process once the model had decoded, before there were other sessions. */
  residentBytes: number;
}

/**
 * Measures a model in rounds that go through everything, so that what else the machine does falls on all alike.
 *
 * @param bytesPerToken what a token reads of the weights
 * @param threads what computes, and reads for the ceiling
 * @param onRound called with the number of rounds that are done
 */
export async function measure(
  model: Model,
  { bytesPerToken, threads, rounds }: { bytesPerToken: number; threads: number; rounds: number },
  signal: AbortSignal,
  onRound: (done: number) => void,
): Promise<Measurements> {
  const { native, usableMemory } = library();
  const first = model.createSession();
  const tokens = tokenSource(model.info.vocabulary);
  // The first steps get the engine's memory; they do not count.
  await first.evaluate(tokens(promptTokens), { logits: 'none', signal });
  await step([first], tokens);
  const residentBytes = process.memoryUsage.rss();

  const room = Math.floor(usableMemory() / 2 / model.info.stateBytes);
  const sessions = [
    first,
    ...Array.from({ length: Math.min(maxSessions, Math.max(1, room)) - 1 }, () => model.createSession()),
  ];
  // What a GPU can do at most is not measured here.
  const onCpu = model.info.device === 'cpu';
  const isRead = onCpu && isSetByMemory(bytesPerToken);
  const arithmetic = isQuantized(model.info.weights) ? 'int8' : 'f32';
  const results: Round[] = [];
  await step(sessions, tokens);
  while (results.length < rounds) {
    const read = isRead ? await readCeiling(threads) : null;
    const decode = await perSecond(minDecodingSeconds, () => step([first], tokens), signal);
    const peak = onCpu ? await native.measurePeak(arithmetic, threads) : 0;
    const prompt = await perSecond(minPromptSeconds, () => prefill(model, tokens, signal), signal);
    const together = await perSecond(minSessionsSeconds, () => step(sessions, tokens), signal);
    results.push({
      read,
      decode,
      peak: peak === 0 ? null : peak,
      prompt: prompt * promptTokens,
      together: together * sessions.length,
    });
    onRound(results.length);
  }
  return { rounds: results, sessions: sessions.length, residentBytes };
}

/** Token ids that differ from call to call. */
function tokenSource(vocabulary: number): (count: number) => Uint32Array {
  let next = 0;
  return (count) => Uint32Array.from({ length: count }, () => (next++ * 7919) % vocabulary);
}

type TokenSource = ReturnType<typeof tokenSource>;

/** A step in which every session evaluates one token. Without a signal, with which a session would copy its state. */
async function step(sessions: readonly Session[], tokens: TokenSource): Promise<void> {
  await Promise.all(sessions.map((session) => session.evaluate(tokens(1))));
}

/** A prompt, in a session of its own. */
async function prefill(model: Model, tokens: TokenSource, signal: AbortSignal): Promise<void> {
  const session = model.createSession();
  await session.evaluate(tokens(promptTokens), { logits: 'none', signal });
  session.dispose();
}

/** How often a second something is done that is done again and again for so many seconds at least. */
async function perSecond(least: number, body: () => Promise<void>, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  let count = 0;
  let seconds = 0;
  while (seconds < least) {
    signal.throwIfAborted();
    await body();
    count += 1;
    seconds = secondsSince(began);
  }
  return count / seconds;
}

/** The median of some values and their quartiles. */
export interface Spread {
  lower: number;
  median: number;
  upper: number;
}

/** The spread of values; null where one of them is. */
export function spreadOf(values: readonly (number | null)[]): Spread | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0 || sorted.length < values.length) return null;
  const at = (part: number): number => sorted[Math.round(part * (sorted.length - 1))] ?? NaN;
  return { lower: at(0.25), median: at(0.5), upper: at(0.75) };
}
