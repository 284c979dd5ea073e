import { Chat } from '../chat';
import { decodeChat } from './file';
import { noHistory } from './history';
import { checkBeginning, checkMessages, type ChatMessage } from './messages';
import {
  checkTemplate,
  defaultTemplate,
  templateNames,
  templates,
  type Template,
  type TemplateName,
} from './templates';
import { WkvError } from '../errors';
import type { Model } from '../model';
import { checkOptions, oneOf, text, uint8Array, withoutPrototype, wrongType, wrongValue } from '../options';
import { Session } from '../session';

export interface ChatOptions {
  /** What the model is to be, or to know. */
  system?: string | undefined;
  /**
   * How the conversation began: perhaps a message of the system, then user and assistant by turns. It is evaluated with
   * the first `send`. Blank lines, which separate turns, are taken out of it (a template of your own says what else is).
   */
  messages?: readonly ChatMessage[] | undefined;
  /**
   * How the conversation is written for the model; by default as the chat template of its file says, if it is like one
   * of these (without thoughts), else 'world', and for RWKV-7 'world-v3'.
   */
  template?: TemplateName | Template | undefined;
  /**
   * The session that the conversation goes on in: by default one that has seen nothing. What it has seen stands before
   * the conversation, just as it is. It stays its owner's: to dispose the chat does not dispose it.
   */
  session?: Session | undefined;
  /**
   * What `chat.serialize()` returned: the conversation goes on there. Only `template` can be given besides, and must be
   * where it was one of the caller's own.
   */
  saved?: Uint8Array | undefined;
}

export function createChat(model: Model, options: unknown): Chat {
  const checked = checkOptions<ChatOptions>(options, {
    system: text,
    messages: checkMessages,
    template: (name, value) =>
      typeof value === 'string' ? oneOf(...templateNames)(name, value) : checkTemplate(name, value),
    session: (name, value) => {
      if (!Session.is(value)) throw wrongType(name, 'a Session', value);
      if (value.model !== model) throw wrongValue(`${name}: it is a session of another model`);
      if (value.isDisposed) throw new WkvError('ERR_WKV_DISPOSED', `${name}: the session has been disposed`);
      return value;
    },
    saved: uint8Array,
  });
  if (model.tokenizer === undefined) {
    throw new WkvError('ERR_WKV_TOKEN', 'the model has no tokenizer: give loadModel the option tokenizer');
  }
  if (checked.saved !== undefined) return restore(model, checked.saved, checked);
  const { system, messages = [], session } = checked;
  const { version, chatTemplate } = withoutPrototype(model.info);
  const template = resolve(checked.template ?? defaultTemplate(version, chatTemplate));
  const beginning = checkBeginning(system, messages, template);
  return Chat.of({
    session: session ?? model.createSession(),
    owned: session === undefined,
    template,
    beginning,
    history: noHistory,
    isAtEnd: false,
  });
}

function restore(model: Model, saved: Uint8Array, options: ChatOptions): Chat {
  for (const key of ['system', 'messages', 'session'] as const) {
    if (options[key] !== undefined)
      throw wrongValue(`options.${key}: options.saved has everything but template`);
  }
  const found = decodeChat(model, saved);
  const template = savedTemplate(found.template, options.template);
  const session = model.createSession({ state: found.state });
  const history = { ...noHistory, turns: found.turns };
  const isAtEnd = found.turns.at(-1)?.end === found.state.tokens;
  return Chat.of({ session, owned: true, template, beginning: found.beginning, history, isAtEnd });
}

/** The template of a saved conversation: the one that it names, or the caller's own, which is not saved. */
function savedTemplate(name: TemplateName | undefined, given: TemplateName | Template | undefined): Template {
  if (name === undefined) {
    if (typeof given === 'object') return given;
    throw wrongValue("options.template: the conversation's template is its caller's own: give it again");
  }
  if (given === undefined || given === name) return templates[name];
  throw wrongValue(`options.template: the template of the saved conversation is '${name}'`);
}

function resolve(template: TemplateName | Template): Template {
  return typeof template === 'string' ? templates[template] : template;
}
