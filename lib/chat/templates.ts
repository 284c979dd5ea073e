import { withoutBlankLines, withoutTurns } from './text';
import { stopBytes } from '../generation/stop-strings';
import { checkOptions, text, withoutPrototype, wrongType } from '../options';

/**
 * How a conversation is written down for a model: it has to be as the model was trained. A conversation is the
 * system's part, if there is one, and then for each turn: the user's part, `label`, the reply, `separator`. Functions
 * return their text at once; whatever calls one that returns anything else fails with a TypeError.
 */
export interface Template {
  /** The system's part, its end included: `System: be brief\n\n`. */
  readonly system: (text: string) => string;
  /** A user's part, its end included: `User: hi\n\n`. */
  readonly user: (text: string, conversation: { readonly system: boolean }) => string;
  /** What a reply follows: `Assistant:`. No space at its end: models write that themselves. */
  readonly label: string;
  /** Stands between a reply and the next turn; a reply never contains it unless `stop` lets it. */
  readonly separator: string;
  /** Strings of 1 to 4,096 bytes that end a reply, unless the call has others. */
  readonly stop: readonly string[];
  /**
   * Written after the label, as if the model had begun its reply with it. It is not shown as a part of the reply. It may
   * end inside `thinking.begin` or `thinking.end`: the model then completes that first.
   */
  readonly opening?: string | undefined;
  /** What encloses a model's thoughts, at the beginning of a reply; white space before it does not count. */
  readonly thinking?: { readonly begin: string; readonly end: string } | undefined;
  /**
   * Makes the text of the system or a user fit for its place. It must take out whatever would look like the end of a
   * turn. By default there are then no blank lines, and no white space around the text.
   */
  readonly clean?: ((text: string) => string) | undefined;
  /** The same for replies that the caller of `createChat` gives; by default `clean`. */
  readonly cleanReply?: ((text: string) => string) | undefined;
}

/** Conversations as ChatRWKV writes them for World models, Eagle among them. */
const world = withoutPrototype<Template>({
  system: (said) => `System: ${said}\n\n`,
  user: (said) => `User: ${said}\n\n`,
  label: 'Assistant:',
  separator: '\n\n',
  stop: ['\n\n'],
});

/**
 * The same for RWKV-7, whose replies have blank lines in them: the next turn ends them, also where the model leaves out
 * the blank line before it.
 */
const worldV3 = withoutPrototype<Template>({
  ...world,
  stop: ['\n\nUser:', '\nUser:'],
  cleanReply: withoutTurns('User', 'Assistant', 'System'),
});

const instruction = withoutPrototype<Template>({
  system: (said) => `Instruction: ${said}\n\n`,
  user: (said, { system }) => `${system ? 'Input' : 'Instruction'}: ${said}\n\n`,
  label: 'Response:',
  separator: '\n\n',
  stop: ['\n\n'],
});

/** RWKV-4 Raven. It has no name for the system, whose text describes what follows. */
const raven = withoutPrototype<Template>({
  system: (said) => `${said}\n\n`,
  user: (said) => `Bob: ${said}\n\n`,
  label: 'Alice:',
  separator: '\n\n',
  stop: ['\n\n'],
});

/** RWKV-7 G1: the prompt ends before the `>`, so that the model goes on with the token that it was trained with. */
const g1 = withoutPrototype<Template>({
  ...worldV3,
  opening: ' <think',
  thinking: { begin: '<think>', end: '</think>' },
});

export const templates = {
  world,
  'world-v3': worldV3,
  instruction,
  raven,
  g1,
  /** The same without thoughts. */
  'g1-fast': withoutPrototype<Template>({ ...g1, opening: ' <think></think' }),
} satisfies Record<string, Template>;

export type TemplateName = keyof typeof templates;

export const templateNames = Object.keys(templates) as TemplateName[];

export function isTemplateName(value: unknown): value is TemplateName {
  return typeof value === 'string' && Object.hasOwn(templates, value);
}

/**
 * The template that a model is talked with unless the caller names one: what its file asks for, as far as that can be
 * told, else World's. A program for a template engine (Jinja) is not run, but known by what it writes. Thoughts take
 * thousands of tokens, so only a caller asks for them.
 *
 * @param version as `model.info.version`
 */
export function defaultTemplate(version: string, chatTemplate = ''): TemplateName {
  const writes = (...texts: string[]): boolean => texts.every((each) => chatTemplate.includes(each));
  if (writes('User:', 'Assistant:')) {
    if (writes('<think')) return 'g1-fast';
  } else {
    if (writes('Bob:', 'Alice:')) return 'raven';
    if (writes('Instruction:', 'Response:')) return 'instruction';
  }
  return version === '7' ? 'world-v3' : 'world';
}

/** The name of a template that the package has; undefined for another. */
export function nameOf(template: Template): TemplateName | undefined {
  return templateNames.find((name) => templates[name] === template);
}

/** A checked copy of a template that a caller made. */
export function checkTemplate(name: string, value: unknown): Template {
  return checkOptions<Template>(
    value,
    {
      system: textMaker,
      user: textMaker,
      label: text,
      separator: text,
      stop: stopTexts,
      opening: text,
      thinking: marks,
      clean: textMaker,
      cleanReply: textMaker,
    },
    name,
    ['system', 'user', 'label', 'separator', 'stop'],
  );
}

/** The function, which from now on fails if it returns anything but text. */
function textMaker(name: string, value: unknown): (...parameters: unknown[]) => string {
  if (typeof value !== 'function') throw wrongType(name, 'a function that returns text', value);
  return function (this: unknown, ...parameters) {
    return text(`what ${name} returns`, Reflect.apply(value, this, parameters));
  };
}

function stopTexts(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw wrongType(name, 'an array of strings', value);
  // Unlike map(), this comes to the holes of an array, too.
  return Array.from(value, (each: unknown, i) => {
    const called = `${name}[${i}]`;
    const stop = text(called, each);
    stopBytes(called, stop);
    return stop;
  });
}

function marks(name: string, value: unknown): { begin: string; end: string } {
  const { begin = '', end = '' } = checkOptions<{ begin: string; end: string }>(
    value,
    { begin: text, end: text },
    name,
  );
  const mark = begin.trimStart();
  if (mark === '' || end === '') throw wrongType(name, 'two strings, begin (not blank) and end', value);
  return { begin: mark, end };
}

/** What `text` is in the place of the system or a user. */
export const cleaned = (template: Template, said: string): string =>
  (template.clean ?? withoutBlankLines)(said);

/** What `text` is in the place of a reply, thoughts or answer. */
export const cleanedReply = (template: Template, said: string): string =>
  (template.cleanReply ?? template.clean ?? withoutBlankLines)(said);
