// An application of one window. Electron takes it from here: npm install && npm start (until wkv is on npm, first
// `npm install PATH/wkv-0.1.0.tgz`, which `npm run prebuild` and then `npm pack` make in a checkout). WKV_MODEL names a
// model of yours.
//
// The main process: it loads the model, and holds a conversation with each window through a port. Models compute on
// threads of their own, so that windows go on answering meanwhile; they need no process of their own.

import { fileURLToPath } from 'node:url';
import { app, BrowserWindow, ipcMain } from 'electron';
import { demoModel, loadModel } from 'wkv';

const inThisFolder = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

const loading = loadModel(process.env['WKV_MODEL'] ?? demoModel);
loading.catch(() => undefined); // who asks it something is told

/**
 * A window's conversation. The window sends `{ say: text }` and gets `{ text }` again and again, then `{ end: true }`,
 * with an `error` where something went wrong; `{ stop: true }` ends a reply where it is.
 *
 * @param {import('electron').MessagePortMain} port
 */
function converse(port) {
  let stopping = new AbortController();
  const chat = loading.then((model) => model.createChat());
  chat.catch(() => undefined);
  const reply = async (/** @type {string} */ said) => {
    stopping = new AbortController();
    const { signal } = stopping;
    try {
      const parts = (await chat).send(said, { signal, maxTokens: 1000 });
      for await (const { text } of parts) port.postMessage({ text });
      port.postMessage({ end: true });
    } catch (error) {
      port.postMessage(signal.aborted ? { end: true } : { end: true, error: String(error) });
    }
  };
  port.on('message', ({ data }) => {
    if (data.stop) stopping.abort();
    else void reply(data.say);
  });
  port.on('close', () => {
    stopping.abort();
    void chat.then(
      (it) => it.dispose(),
      () => undefined,
    );
  });
  port.start();
}

ipcMain.on('converse', ({ ports: [port] }) => {
  if (port !== undefined) converse(port);
});

app.on('window-all-closed', () => app.quit());

// Not awaited: Electron gets ready only when this file has been evaluated.
void app.whenReady().then(() => {
  const window = new BrowserWindow({
    width: 700,
    height: 600,
    webPreferences: { preload: inThisFolder('preload.cjs') },
  });
  void window.loadFile(inThisFolder('index.html'));
});
