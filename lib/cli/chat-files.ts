import { open, rename, rm, stat } from 'node:fs/promises';
import { systemReason } from './errors';
import type { Chat } from '../chat';
import type { Model } from '../model';

/** What a saved conversation begins with; see docs/chat-format.md. */
const magic = 'WKVCHAT\0';

/** Writes a conversation into a file, which is there with all of it or as it was: temporary file, fsync, rename. */
export async function saveChat(chat: Chat, path: string): Promise<number> {
  const bytes = chat.serialize();
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // what went wrong before counts
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const reason = missing ? 'there is no such directory' : systemReason(cause);
    throw new Error(`cannot write ${path}: ${reason}`, { cause });
  }
  return bytes.length;
}

/** The conversation in a file. What is none is refused by its first bytes, however large it is. */
export async function loadChat(model: Model, path: string): Promise<Chat> {
  let saved: Buffer;
  try {
    // A pipe would have to be waited for.
    if (!(await stat(path)).isFile()) throw new Error('it is no file');
    const file = await open(path, 'r');
    try {
      const { buffer } = await file.read(Buffer.alloc(magic.length), 0, magic.length, 0);
      if (buffer.toString('latin1') !== magic) {
        throw new Error('it is no conversation that /save wrote');
      }
      saved = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new Error(`cannot read ${path}: ${systemReason(cause)}`, { cause });
  }
  return model.createChat({ saved });
}
