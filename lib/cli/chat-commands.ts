import type { Branches } from './branches';
import { loadChat, saveChat, withHome } from './chat-files';
import { tokensPerSecond, type Result } from './generation';
import { Interrupted } from './interruption';
import { library } from './library';
import { formatCount, printable, table } from './terminal';
import type { Chat } from '../chat';
import { formatBytes } from '../format-bytes';

/** What commands work on. */
export interface CommandContext {
  readonly branches: Branches;
  /** The last reply, if there was one. */
  readonly last: Result | undefined;
  /** Says something to whoever types, in a line or several. */
  readonly tell: (text: string) => void;
  /** Does what Ctrl-C may end: then the signal is aborted, with an {@link Interrupted}. */
  readonly interruptible: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  /** Replies once more to what was said last. */
  readonly regenerate: () => Promise<void>;
  /** Ends the conversation. */
  readonly exit: () => void;
}

interface Command {
  name: string;
  /** What comes after the name, in capitals; nothing may where there is none. */
  argument?: string;
  summary: string;
  run: (context: CommandContext, argument: string) => Promise<void> | void;
}

const commands: readonly Command[] = [
  { name: '/help', summary: 'show this', run: ({ tell }) => tell(help()) },
  { name: '/undo', summary: 'take the last exchange back', run: undo },
  {
    name: '/regenerate',
    summary: 'reply once more to what you said last',
    run: ({ regenerate }) => regenerate(),
  },
  { name: '/fork', summary: 'keep the conversation, and go on in a copy', run: fork },
  { name: '/branches', summary: 'list the conversations', run: ({ branches, tell }) => tell(list(branches)) },
  { name: '/switch', argument: 'N', summary: 'go on in conversation N', run: switchTo },
  { name: '/save', argument: 'FILE', summary: 'save the conversation', run: save },
  { name: '/load', argument: 'FILE', summary: 'go on in a saved conversation', run: load },
  { name: '/stats', summary: 'show tokens, memory and speed', run: stats },
  { name: '/exit', summary: 'end; Ctrl-D does too', run: ({ exit }) => exit() },
];

export const commandNames: readonly string[] = commands.map(({ name }) => name);

/** Runs what was typed after a slash. Where it cannot, it throws and nothing has changed. */
export async function runCommand(line: string, context: CommandContext): Promise<void> {
  const [, name = '', argument = ''] = /^(\S+)\s*(.*?)\s*$/s.exec(line) ?? [];
  const command = commands.find((each) => each.name === name);
  if (command === undefined) {
    throw new Error(`there is no ${name}; /help lists the commands`);
  }
  if (command.argument !== undefined && argument === '') {
    throw new Error(`${name} needs ${command.argument}: ${name} ${command.argument}`);
  }
  if (command.argument === undefined && argument !== '') throw new Error(`nothing comes after ${name}`);
  await command.run(context, argument);
}

function help(): string {
  const rows = commands.map(
    ({ name, argument, summary }) => [`${name} ${argument ?? ''}`.trimEnd(), summary] as const,
  );
  const notes = [
    'Anything else goes to the model; start with // to send a text that begins with /.',
    'Lines that are pasted together are one message.',
    'Ctrl-C stops a reply, and keeps what there is of it; it also clears what is typed. Where nothing is typed, the second one in a row ends.',
  ];
  return `${table(rows)}${notes.join('\n')}`;
}

async function undo({ branches, interruptible, tell }: CommandContext): Promise<void> {
  const said = lastSaid(branches.chat);
  try {
    // Reads the conversation again where the state before the exchange is not kept.
    await interruptible((signal) => branches.chat.undo({ signal }));
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    tell('[stopped: nothing was taken back]');
    return;
  }
  tell(`took back: ${said}`);
}

function fork({ branches, tell }: CommandContext): void {
  const kept = branches.current;
  branches.fork(library().randomSeed());
  tell(`this is conversation ${branches.current} now; /switch ${kept} goes back to ${kept}`);
}

function switchTo({ branches, tell }: CommandContext, argument: string): void {
  if (!/^\d{1,9}$/.test(argument) || !branches.switchTo(Number(argument))) {
    throw new Error(`there is no conversation ${argument}; /branches lists them`);
  }
  tell(`conversation ${branches.current}: ${describe(branches.chat)}`);
}

async function save({ branches, tell }: CommandContext, argument: string): Promise<void> {
  const path = withHome(argument);
  const bytes = await saveChat(branches.chat, path);
  tell(`saved as ${path}, ${formatBytes(bytes)}`);
}

async function load({ branches, tell }: CommandContext, argument: string): Promise<void> {
  const { all, current } = branches;
  const count = all.length;
  branches.add(await loadChat(branches.chat.session.model, withHome(argument)));
  const kept = all.length > count ? `; /switch ${current} goes back to ${current}` : '';
  tell(`loaded: ${describe(branches.chat)}${kept}`);
}

function stats({ branches, last, tell }: CommandContext): void {
  const { session } = branches.chat;
  const { info } = session.model;
  const rows: [string, string][] = [
    ['tokens seen', formatCount(session.state.tokens)],
    ['state', `${formatBytes(info.stateBytes)}, however many there are`],
    ['weights', `${formatBytes(info.weightBytes)} (${info.weights}, ${info.isa})`],
  ];
  if (last !== undefined) {
    const speed = tokensPerSecond(last);
    const { completionTokens, promptTokens } = last.usage;
    rows.push([
      'last reply',
      `${formatCount(completionTokens)} tokens after ${formatCount(promptTokens)}${speed === null ? '' : `, ${speed.toFixed(1)} tokens/s`}`,
    ]);
  }
  tell(table(rows).trimEnd());
}

function list({ all, current }: Branches): string {
  return all.map((chat, i) => `${i + 1 === current ? '*' : ' '} ${i + 1}  ${describe(chat)}`).join('\n');
}

/** A conversation in a few words. */
export function describe(chat: Chat): string {
  const count = chat.messages.filter(({ role }) => role === 'user').length;
  if (count === 0) return 'nothing has been said';
  return `${count} ${count === 1 ? 'exchange' : 'exchanges'}, the last one: ${lastSaid(chat)}`;
}

const maxShown = 50;

/** The beginning of what the user said last, on one line. */
function lastSaid({ messages }: Chat): string {
  const said = messages.findLast(({ role }) => role === 'user')?.content ?? '';
  const line = printable(said.replaceAll('\n', ' '));
  const characters = Array.from(line);
  return characters.length > maxShown ? `${characters.slice(0, maxShown - 3).join('')}...` : line;
}
