import type { Exchange } from './messages';
import type { CheckedOptions } from '../generate';
import type { Model } from '../model';
import type { NativeRandom } from '../native';
import { withoutPrototype } from '../options';
import type { Drawing } from '../sampling';
import type { Session } from '../session';
import type { State } from '../state';

/** How a reply's tokens were counted: what they leave behind for the penalties of later replies. */
interface Counting extends Pick<Drawing, 'penaltyDecay' | 'penaltyExempt'> {
  readonly sessionCounts: boolean;
}

/** An exchange, and everything that brings a session from the state before it to the state after it. */
export interface Turn extends Exchange {
  /** What was evaluated before the reply. */
  readonly prompt: Uint32Array;
  /** What was evaluated of the reply. */
  readonly tokens: Uint32Array;
  /** The session's random numbers before the turn. */
  readonly random: NativeRandom;
  readonly counting: Counting;
  /** The state before the turn, where it is not the one after the turn before. */
  readonly base: State | undefined;
  /** How many tokens the session had seen after the turn. */
  readonly end: number;
}

/** The turns of a conversation; an immutable value. */
export interface History {
  readonly turns: readonly Turn[];
  /** The states before the last of them, in the same order. */
  readonly recent: readonly State[];
}

/** So many states are kept; those before earlier turns are computed again when they are needed. */
const keptStates = 8;

export const noHistory: History = { turns: [], recent: [] };

export function withTurn(history: History, turn: Turn, before: State): History {
  return { turns: [...history.turns, turn], recent: [...history.recent, before].slice(-keptStates) };
}

export function withoutLastTurn({ turns, recent }: History): History {
  return { turns: turns.slice(0, -1), recent: recent.slice(0, -1) };
}

/** What there is to show of a history: nothing can be taken back any more. */
export function withoutStates({ turns }: History): History {
  return { turns: turns.map((turn) => ({ ...turn, base: undefined })), recent: [] };
}

/** What a session has to remember of the options of a generation to do it again. */
export function countingOf({ drawing, sessionCounts }: CheckedOptions): Counting {
  const { penaltyDecay, penaltyExempt } = withoutPrototype(drawing);
  return {
    sessionCounts,
    ...(penaltyDecay === undefined ? {} : { penaltyDecay }),
    ...(penaltyExempt === undefined ? {} : { penaltyExempt }),
  };
}

/**
 * The history with the state before its last turn, computed again if it is not kept: the same tokens give the same bits,
 * counts follow from them too, and each turn has written its random numbers down. The time that takes grows with the
 * conversation.
 */
export async function withStateBefore(
  history: History,
  model: Model,
  signal: AbortSignal | undefined,
): Promise<{ history: History; before: State }> {
  signal?.throwIfAborted();
  const kept = history.recent.at(-1);
  if (kept !== undefined) return { history, before: kept };
  const { turns } = history;
  const recent: State[] = [];
  const first = turns.findLastIndex(({ base }) => base !== undefined);
  const base = turns[first]?.base;
  if (base === undefined) throw new Error('no state of the conversation is kept');
  const session = model.createSession({ state: base });
  try {
    let previous: Turn | undefined;
    for (const turn of turns.slice(first)) {
      if (previous !== undefined) await evaluateAgain(session, previous, signal);
      session.native().setRandom(turn.random.seed, turn.random.draws);
      recent.push(session.snapshot());
      if (recent.length > keptStates) recent.shift();
      previous = turn;
    }
  } finally {
    session.dispose();
  }
  return { history: { turns, recent }, before: recent.at(-1) ?? base };
}

/** Brings a session that is in the state before a turn to the state after it, except for its random numbers. */
async function evaluateAgain(
  session: Session,
  { prompt, tokens, counting }: Turn,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sessionCounts, ...drawing } = counting;
  session.native().beginGeneration(session.sampling(drawing, 0), sessionCounts);
  await session.submit({ tokens: prompt }, signal);
  await session.submit({ tokens, generated: true, pack: true }, signal);
}
