import { trimmed } from './text';
import { cleaned, cleanedReply, type Template } from './templates';
import { checkOptions, oneOf, text, wrongType, wrongValue } from '../options';

/** A message of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  /** The text, without what the template writes around it. */
  readonly content: string;
  /** What the model thought before its answer, in an assistant's message of a template with thoughts. */
  readonly thinking?: string | undefined;
}

/** What a user said and what came of it. */
export interface Exchange {
  readonly user: string;
  readonly reply: string;
  readonly thinking: string | undefined;
}

/** What a conversation begins with, cleaned as its template wants it. */
export interface Beginning {
  readonly system: string | undefined;
  readonly exchanges: readonly Exchange[];
}

/** Checks what a caller says a conversation begins with: perhaps a system's message, then user and assistant by turns. */
export function checkBeginning(
  system: string | undefined,
  messages: readonly ChatMessage[],
  template: Template,
): Beginning {
  const [first] = messages;
  const own = first?.role === 'system' ? first.content : undefined;
  if (own !== undefined && system !== undefined) {
    throw wrongValue('options.messages[0]: options.system is given too; there is one message of the system');
  }
  const said = own ?? system;
  const skipped = own === undefined ? 0 : 1;
  const exchanges: Exchange[] = [];
  for (let i = skipped; i < messages.length; i += 2) {
    const user = requireRole(messages, i, 'user');
    const { content, thinking } = requireRole(messages, i + 1, 'assistant');
    exchanges.push({
      user: cleanedUser(template, user.content, `options.messages[${i}].content`),
      reply: trimmed(cleanedReply(template, content)),
      thinking: thinking === undefined ? undefined : cleanedReply(template, thinking),
    });
  }
  const clean = said === undefined ? '' : cleaned(template, said);
  return { system: clean === '' ? undefined : clean, exchanges };
}

/** A user's text as it goes into the conversation. */
export function cleanedUser(template: Template, said: unknown, name: string): string {
  const clean = cleaned(template, text(name, said));
  if (clean === '') throw wrongValue(`${name}: expected a text that is not blank`);
  return clean;
}

function requireRole(messages: readonly ChatMessage[], i: number, role: 'user' | 'assistant'): ChatMessage {
  const message = messages[i];
  if (message === undefined) {
    throw wrongValue(`options.messages: the last one is the user's; what the user says next is for send()`);
  }
  if (message.role !== role) {
    throw wrongValue(`options.messages[${i}].role: expected '${role}', found '${message.role}'`);
  }
  if (role === 'user' && message.thinking !== undefined) {
    throw wrongValue(`options.messages[${i}].thinking: only an assistant's message has thoughts`);
  }
  return message;
}

/** Copies of messages, each of them well-formed. */
export function checkMessages(name: string, value: unknown): ChatMessage[] {
  if (!Array.isArray(value)) throw wrongType(name, 'an array of messages', value);
  // Unlike map(), this comes to the holes of an array, too.
  return Array.from(value, (message: unknown, i) => {
    const called = `${name}[${i}]`;
    if (message === undefined) throw wrongType(called, 'a message', message);
    const { role, content, thinking } = checkOptions<ChatMessage>(
      message,
      { role: oneOf('system', 'user', 'assistant'), content: text, thinking: text },
      called,
      ['role', 'content'],
    );
    return { role, content, thinking };
  });
}

/** The messages of a conversation, in their order; fresh objects. */
export function messagesOf(system: string | undefined, exchanges: readonly Exchange[]): ChatMessage[] {
  const all: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
  for (const { user, reply, thinking } of exchanges) {
    all.push(
      { role: 'user', content: user },
      { role: 'assistant', content: reply, ...(thinking === undefined ? {} : { thinking }) },
    );
  }
  return all;
}

/** The text of a conversation's beginning, up to where its first turn begins. */
export function beginningText(template: Template, { system, exchanges }: Beginning): string {
  const parts = exchanges.map(({ user, reply, thinking }) => {
    const thoughts =
      thinking === undefined || template.thinking === undefined
        ? ''
        : ` ${template.thinking.begin}${thinking}${template.thinking.end}`;
    const answer = reply === '' ? '' : `${thoughts === '' ? ' ' : '\n'}${reply}`;
    return `${userText(template, user, system)}${template.label}${thoughts}${answer}${template.separator}`;
  });
  return `${system === undefined ? '' : template.system(system)}${parts.join('')}`;
}

/** What a user says, up to where the model's reply begins. */
export function turnText(template: Template, user: string, system: string | undefined): string {
  return `${userText(template, user, system)}${template.label}${template.opening ?? ''}`;
}

function userText(template: Template, user: string, system: string | undefined): string {
  return template.user(user, { system: system !== undefined });
}
