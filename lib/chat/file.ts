import { createHash } from 'node:crypto';
import { refused } from './refused';
import type { Turn } from './history';
import type { Beginning } from './messages';
import { readHeader, writeHeader, type ChatHeader } from './header';
import type { TemplateName } from './templates';
import type { Model } from '../model';
import { State } from '../state';

// The format is described in docs/chat-format.md.

/** What a saved conversation begins with. */
export const chatMagic = Buffer.from('WKVCHAT\0', 'latin1');
const version = 1;
const fixedBytes = 16;
const checksumBytes = 32;

/** A conversation as it is saved. */
interface SavedChat {
  /** The name of its template; without one, it had a template of its caller's. */
  template: TemplateName | undefined;
  beginning: Beginning;
  turns: readonly Turn[];
  /** The state that it has come to. */
  state: State;
}

export function encodeChat(model: Model, { template, beginning, turns, state }: SavedChat): Uint8Array {
  const states = [state.serialize()];
  const places = turns.map(({ base }) => {
    if (base === undefined) return 'previous';
    if (isEmpty(base, model)) return 'empty';
    return states.push(base.serialize()) - 1;
  });
  const lengths = states.map(({ length }) => length);
  const header = Buffer.from(writeHeader({ template, beginning, turns, places, states: lengths }), 'utf8');
  const fixed = Buffer.alloc(fixedBytes);
  chatMagic.copy(fixed);
  fixed.writeUInt32LE(version, 8);
  fixed.writeUInt32LE(header.length, 12);
  const hash = createHash('sha256');
  const parts = [fixed, header, ...states];
  for (const part of parts) hash.update(part);
  return Uint8Array.from(Buffer.concat([...parts, hash.digest()]));
}

/**
 * The conversation that {@link encodeChat} made bytes of.
 *
 * @throws {WkvError} `ERR_WKV_STATE`
 */
export function decodeChat(model: Model, saved: Uint8Array): SavedChat {
  // A copy of what may be shared memory: what is checked is what is read.
  const bytes = Buffer.from(saved);
  const content = checkFrame(bytes);
  const headerEnd = fixedBytes + bytes.readUInt32LE(12);
  if (headerEnd > content.length) throw refused('their header is longer than they are');
  const header = readHeader(content.subarray(fixedBytes, headerEnd), model.info.vocabulary);
  const states = readStates(content.subarray(headerEnd), header.states);
  const [state] = states;
  if (state === undefined) throw refused('they have no state');
  // Each has to fit the model, although most are needed only when exchanges are taken back.
  for (const each of states) model.createSession({ state: each }).dispose();
  let nothing: State | undefined;
  const known: Known = { states, empty: () => (nothing ??= emptyState(model)) };
  let end = 0;
  const turns = header.turns.map((turn, i): Turn => {
    const base = baseOf(header.places[i], i, known);
    end = (base?.tokens ?? end) + turn.prompt.length + turn.tokens.length;
    return { ...turn, base, end };
  });
  return { template: header.template, beginning: header.beginning, turns, state };
}

function checkFrame(bytes: Buffer): Buffer {
  if (!bytes.subarray(0, chatMagic.length).equals(chatMagic)) {
    throw refused('they do not begin with WKVCHAT');
  }
  if (bytes.length < fixedBytes + checksumBytes) throw refused('they end early');
  const found = bytes.readUInt32LE(8);
  if (found !== version) {
    throw refused('they are of another version', {
      expected: `version ${version}`,
      found: `version ${found}`,
    });
  }
  const content = bytes.subarray(0, -checksumBytes);
  const checksum = createHash('sha256').update(content).digest();
  if (!checksum.equals(bytes.subarray(-checksumBytes))) throw refused('they are damaged');
  return content;
}

function readStates(bytes: Buffer, lengths: ChatHeader['states']): State[] {
  let at = 0;
  const states = lengths.map((length) => {
    const part = bytes.subarray(at, at + length);
    at += length;
    return State.deserialize(part);
  });
  if (at !== bytes.length) throw refused('their length does not fit their header');
  return states;
}

interface Known {
  states: readonly State[];
  empty: () => State;
}

function baseOf(
  place: ChatHeader['places'][number] | undefined,
  turn: number,
  known: Known,
): State | undefined {
  if (place === 'empty') return known.empty();
  if (place === 'previous' && turn > 0) return undefined;
  const state = typeof place === 'number' ? known.states[place] : undefined;
  if (state === undefined) throw refused(`the state before turn ${turn} is missing`);
  return state;
}

/** Whether it is the state of a session that has seen nothing, to the last bit: that needs no saving. */
function isEmpty(state: State, model: Model): boolean {
  if (state.tokens !== 0) return false;
  const [found, expected] = [state.values(), emptyState(model).values()];
  return Buffer.from(found.buffer).equals(Buffer.from(expected.buffer));
}

/** The state of a session that has seen nothing: what the model's file says, or zeros. */
function emptyState(model: Model): State {
  const session = model.createSession();
  const { state } = session;
  session.dispose();
  return state;
}
