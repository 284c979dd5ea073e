// The page: a conversation, a line to write in, and a button to stop a reply. It is a browser's, nothing more.

/** @type {{ send: (text: string, onText: (text: string) => void) => Promise<void>, stop: () => void }} */
const chat = Reflect.get(window, 'chat');
const conversation = /** @type {HTMLElement} */ (document.querySelector('main'));
const form = /** @type {HTMLFormElement} */ (document.querySelector('form'));
const line = /** @type {HTMLInputElement} */ (document.querySelector('input'));
const button = /** @type {HTMLButtonElement} */ (document.querySelector('button'));

/**
 * A paragraph at the end of the conversation.
 *
 * @param {string} role
 * @param {string} text
 */
function write(role, text) {
  const paragraph = document.createElement('p');
  paragraph.className = role;
  paragraph.textContent = text;
  conversation.append(paragraph);
  return paragraph;
}

let isReplying = false;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (isReplying) {
    chat.stop();
    return;
  }
  const said = line.value.trim();
  if (said === '') return;
  line.value = '';
  write('user', said);
  const reply = write('assistant', '');
  isReplying = true;
  button.textContent = 'Stop';
  try {
    await chat.send(said, (text) => {
      reply.textContent += text;
      reply.scrollIntoView(false);
    });
  } catch (error) {
    write('error', error instanceof Error ? error.message : String(error));
  } finally {
    isReplying = false;
    button.textContent = 'Send';
  }
});
