import type { Stats } from 'node:fs';
import { lstat, open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { systemReason } from './errors';
import { library } from './library';
import type { Chat } from '../chat';
import type { Model } from '../model';
import { partBeside } from '../part-file';
import { errorCode } from '../thrown';

/** A path as it is typed in a conversation, where no shell knows what ~/ is. */
export function withHome(path: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
}

/**
 * Writes a conversation into a file, which is there with all of it or as it was: temporary file, fsync, rename. Only a
 * saved conversation is ever replaced; where the path is a link, the one that it points to.
 */
export async function saveChat(chat: Chat, path: string): Promise<number> {
  const bytes = chat.serialize();
  try {
    const { place, mode } = await placeToSave(path);
    await writeWhole(place, bytes, mode);
  } catch (cause) {
    const reason = isMissing(cause) ? 'there is no such directory' : systemReason(cause);
    throw new Error(`cannot write ${path}: ${reason}`, { cause });
  }
  return bytes.length;
}

/**
 * Where a file of this name really is, or is to be, and with which permissions. Throws where something is there that
 * would be lost.
 */
async function placeToSave(path: string): Promise<{ place: string; mode: number | undefined }> {
  let place: string;
  try {
    place = await realpath(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
    // Nothing is there, or a link that leads nowhere.
    if (await isThere(path)) throw new Error('it is a link to a file that is not there', { cause: error });
    return { place: path, mode: undefined };
  }
  const file = await openFile(place);
  try {
    if (!(await isConversation(file)))
      throw new Error('the file that is there is no conversation that /save wrote');
    return { place, mode: (await file.stat()).mode & 0o777 };
  } finally {
    await file.close();
  }
}

const isMissing = (error: unknown): boolean => errorCode(error) === 'ENOENT';

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false; // whatever else is wrong with the path, writing will say
  }
}

async function writeWhole(path: string, bytes: Uint8Array, mode: number | undefined): Promise<void> {
  const temporary = partBeside(path);
  const file = await open(temporary, 'wx', mode);
  try {
    try {
      if (mode !== undefined) await file.chmod(mode); // the umask may have taken something away
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // what went wrong before counts
    throw cause;
  }
}

/** The conversation in a file. What is none is refused by its first bytes, however large it is. */
export async function loadChat(model: Model, path: string): Promise<Chat> {
  let saved: Buffer;
  try {
    const file = await openFile(path);
    try {
      if (!(await isConversation(file))) throw new Error('it is no conversation that /save wrote');
      saved = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new Error(`cannot read ${path}: ${systemReason(cause)}`, { cause });
  }
  try {
    return model.createChat({ saved });
  } catch (error) {
    // All else that may be wrong with it is a WkvError.
    if (!(error instanceof TypeError)) throw error;
    const reason = 'its template is the own one of the program that saved it, and not in the file';
    throw new Error(`cannot go on with ${path}: ${reason}`, { cause: error });
  }
}

/** Opens what is there to be read, if that is a file: a pipe would have to be waited for. */
async function openFile(path: string): Promise<FileHandle> {
  const found = await stat(path);
  if (!found.isFile()) throw new Error(`it is ${kindOf(found)}, not a file`);
  return await open(path, 'r');
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return 'a directory';
  if (found.isFIFO()) return 'a pipe';
  if (found.isSocket()) return 'a socket';
  return 'a device';
}

async function isConversation(file: FileHandle): Promise<boolean> {
  const { chatMagic } = library();
  const { buffer } = await file.read(Buffer.alloc(chatMagic.length), 0, chatMagic.length, 0);
  return buffer.equals(chatMagic);
}
