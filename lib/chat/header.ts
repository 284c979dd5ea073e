import { TextDecoder } from 'node:util';
import type { Turn } from './history';
import type { Beginning, Exchange } from './messages';
import { refused } from './refused';
import { isTemplateName, type TemplateName } from './templates';
import { Field } from '../json-field';
import { withoutPrototype } from '../options';

/** Where the state before a turn is: it follows from the turn before, has seen nothing, or is one that is saved. */
type Place = 'previous' | 'empty' | number;

/** What a saved conversation says of itself before its states. */
export interface ChatHeader {
  template: TemplateName | undefined;
  beginning: Beginning;
  turns: readonly Omit<Turn, 'base' | 'end'>[];
  places: readonly Place[];
  /** The lengths of the states, in bytes. */
  states: readonly number[];
}

export function writeHeader({ template, beginning, turns, places, states }: ChatHeader): string {
  return JSON.stringify({
    template: template ?? null,
    system: beginning.system ?? null,
    exchanges: beginning.exchanges.map(writeExchange),
    turns: turns.map(({ prompt, tokens, random, counting, ...exchange }, i) => ({
      ...writeExchange(exchange),
      prompt: Array.from(prompt),
      tokens: Array.from(tokens),
      random: { seed: String(random.seed), draws: String(random.draws) },
      ...writeCounting(withoutPrototype(counting)),
      base: places[i],
    })),
    states,
  });
}

function writeExchange({ user, thinking, reply }: Exchange): object {
  return { user, thinking: thinking ?? null, reply };
}

function writeCounting({ sessionCounts, penaltyDecay, penaltyExempt }: Turn['counting']): object {
  return {
    penalties: sessionCounts ? 'session' : 'generation',
    penaltyDecay: penaltyDecay ?? null,
    penaltyExempt: penaltyExempt === undefined ? null : Array.from(penaltyExempt),
  };
}

/** @throws {WkvError} `ERR_WKV_STATE` for whatever {@link writeHeader} does not write */
export function readHeader(bytes: Uint8Array, vocabulary: number): ChatHeader {
  const header = new Field(parse(bytes), 'header', refused).object([
    'template',
    'system',
    'exchanges',
    'turns',
    'states',
  ]);
  const turns = header.turns.array();
  const template = header.template.orNull()?.text();
  if (template !== undefined && !isTemplateName(template)) {
    throw refused('there is no such template', { expected: 'the name of a template', found: template });
  }
  return {
    template,
    beginning: {
      system: header.system.orNull()?.text(),
      exchanges: header.exchanges
        .array()
        .map((each) => readExchange(each.object(['user', 'thinking', 'reply']))),
    },
    turns: turns.map((each) => readTurn(each, vocabulary)),
    places: turns.map((each) => readPlace(each.object(turnKeys).base)),
    states: header.states.array().map((length) => length.integer(0, Number.MAX_SAFE_INTEGER)),
  };
}

const turnKeys = [
  ...(['user', 'thinking', 'reply', 'prompt', 'tokens', 'random'] as const),
  ...(['penalties', 'penaltyDecay', 'penaltyExempt', 'base'] as const),
] as const;

function readExchange(fields: Readonly<Record<'user' | 'thinking' | 'reply', Field>>): Exchange {
  const thinking = fields.thinking.orNull()?.text();
  return { user: fields.user.text(), reply: fields.reply.text(), thinking };
}

function readTurn(field: Field, vocabulary: number): ChatHeader['turns'][number] {
  const fields = field.object(turnKeys);
  const random = fields.random.object(['seed', 'draws']);
  const penaltyDecay = fields.penaltyDecay.orNull()?.number(0, 1);
  const penaltyExempt = fields.penaltyExempt.orNull()?.tokens(vocabulary);
  return {
    ...readExchange(fields),
    prompt: fields.prompt.tokens(vocabulary),
    tokens: fields.tokens.tokens(vocabulary),
    random: { seed: random.seed.bits64(), draws: random.draws.bits64() },
    counting: {
      sessionCounts: fields.penalties.word('session', 'generation') === 'session',
      ...(penaltyDecay === undefined ? {} : { penaltyDecay }),
      ...(penaltyExempt === undefined ? {} : { penaltyExempt }),
    },
  };
}

function readPlace(field: Field): Place {
  return field.isNumber ? field.integer(1, Number.MAX_SAFE_INTEGER) : field.word('previous', 'empty');
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw refused('their header is no JSON', { cause });
  }
}
