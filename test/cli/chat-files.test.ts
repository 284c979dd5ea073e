import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe as inWords } from '../../lib/cli/chat-commands';
import { loadChat, saveChat, withHome } from '../../lib/cli/chat-files';
import { loadModel, type Chat, type Model } from '../../lib/index';
import { temporaryFolder } from '../support/model';
import { rejection } from '../support/failure';
import { onWindows, unless } from '../support/unless';
import { writeEndlessModel } from './support';

const folder = temporaryFolder();
const testLinks = unless(onWindows('links need privileges there'));
const testModes = unless(onWindows('Windows has no such permissions'));
const testSlashes = unless(onWindows('Windows may pass over a slash at the end of a name'));
const testPipes = unless(onWindows('Windows has no pipes in directories'));
let model: Model;
let chat: Chat;

beforeAll(async () => {
  model = await loadModel(await writeEndlessModel(folder));
  chat = model.createChat();
  await chat.complete('hi', { temperature: 0, maxTokens: 3 });
});
afterAll(() => model.dispose());

let places = 0;
function place(): string {
  const path = join(folder, `place-${places++}`);
  mkdirSync(path);
  return path;
}

const reasonFor = async (path: string): Promise<string> =>
  String(await rejection(() => saveChat(chat, path)));

test('~/ at the beginning of a path is the home directory', () => {
  expect(withHome('~/x.chat')).toBe(join(homedir(), 'x.chat'));
  expect(withHome('~x/y~/x.chat')).toBe('~x/y~/x.chat');
});

describe('a conversation that is saved', () => {
  test('takes the place of one that was saved before', async () => {
    const file = join(place(), 'a.chat');
    await saveChat(model.createChat(), file);
    expect(await saveChat(chat, file)).toBe(readFileSync(file).length);
    expect(model.createChat({ saved: readFileSync(file) }).messages).toEqual(chat.messages);
  });

  testModes('keeps the permissions of the one before', async () => {
    const file = join(place(), 'a.chat');
    await saveChat(chat, file);
    for (const mode of [0o666, 0o600]) {
      chmodSync(file, mode);
      await saveChat(chat, file);
      expect(statSync(file).mode & 0o777).toBe(mode);
    }
  });

  test('leaves a file alone that looks like a temporary one', async () => {
    const folderOfIt = place();
    const other = `a.chat.${process.pid}.tmp`;
    writeFileSync(join(folderOfIt, other), 'precious');
    await saveChat(chat, join(folderOfIt, 'a.chat'));
    expect(readFileSync(join(folderOfIt, other), 'utf8')).toBe('precious');
    expect(readdirSync(folderOfIt)).toEqual(['a.chat', other]);
  });

  test('may have as long a name as there are', async () => {
    const folderOfIt = place();
    const name = 'a'.repeat(250);
    await saveChat(chat, join(folderOfIt, name));
    expect(readdirSync(folderOfIt)).toEqual([name]);
  });

  test.each([
    ['a model', 'PK\u0003\u0004 and so on'],
    ['a text', 'WKVCHAT is how it begins'],
    ['an empty file', ''],
  ])('does not take the place of %s', async (_name, content) => {
    const folderOfIt = place();
    const file = join(folderOfIt, 'precious');
    writeFileSync(file, content);
    expect(await reasonFor(file)).toMatch(
      /cannot write .*precious: the file that is there is no conversation/,
    );
    expect(readFileSync(file, 'utf8')).toBe(content);
    expect(readdirSync(folderOfIt)).toEqual(['precious']);
  });

  test('is no directory', async () => {
    expect(await reasonFor(place())).toMatch(/cannot write .*: it is a directory, not a file/);
  });

  testSlashes('leaves nothing behind where it cannot be put in its place', async () => {
    const folderOfIt = place();
    // All of it is written before the system refuses such a name for a file.
    expect(await reasonFor(join(folderOfIt, 'a.chat/'))).toMatch(/cannot write .*a\.chat\/: /);
    expect(readdirSync(folderOfIt)).toEqual([]);
  });

  testPipes('does not take the place of a pipe', async () => {
    const pipe = join(place(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(await reasonFor(pipe)).toMatch(/cannot write .*pipe: it is a pipe, not a file/);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });

  testLinks('is written where a link points to, and the link stays', async () => {
    const file = join(place(), 'a.chat');
    const link = join(place(), 'link');
    symlinkSync(file, link);
    expect(await reasonFor(link)).toMatch(/cannot write .*link: it is a link to a file that is not there/);
    await saveChat(model.createChat(), file);
    await saveChat(chat, link);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(model.createChat({ saved: readFileSync(file) }).messages).toEqual(chat.messages);
  });
});

test('A conversation whose template is not in the file cannot be gone on with: it says why', async () => {
  const template = { system: String, user: String, label: 'a', separator: 'b', stop: [] };
  const own = model.createChat({ template });
  await own.complete('hi', { temperature: 0, maxTokens: 3 });
  const file = join(place(), 'own.chat');
  await saveChat(own, file);
  const error = await rejection(() => loadChat(model, file));
  expect(String(error)).toMatch(/cannot go on with .*own\.chat: its template is the own one of the program/);
});

test.each([
  [50, 'x'.repeat(50)],
  [51, `${'x'.repeat(47)}...`],
])('Of what was said last, in %i letters, 50 are shown', (length, shown) => {
  const messages = [
    { role: 'user', content: 'x'.repeat(length) },
    { role: 'assistant', content: 'y' },
  ] as const;
  expect(inWords(model.createChat({ messages }))).toBe(`1 exchange, the last one: ${shown}`);
});
