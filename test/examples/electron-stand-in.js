'use strict';

// What the example for Electron uses of it, made of Node's: the page's half of a port is Node's own. Electron is ready
// only when its main file has been evaluated, as `start()` does it here.

const { EventEmitter } = require('node:events');

class MessagePortMain extends EventEmitter {
  #port;

  constructor(port) {
    super();
    this.#port = port;
  }

  start() {
    this.#port.on('message', (data) => this.emit('message', { data, ports: [] }));
    this.#port.on('close', () => this.emit('close'));
  }

  postMessage(message) {
    this.#port.postMessage(message);
  }
}

const windows = [];
let becomeReady;
const ready = new Promise((resolve) => {
  becomeReady = resolve;
});

exports.app = Object.assign(new EventEmitter(), { whenReady: () => ready, quit: () => undefined });
exports.BrowserWindow = class {
  constructor(options) {
    this.preload = options.webPreferences.preload;
    windows.push(this);
  }

  loadFile(file) {
    this.file = file;
    return Promise.resolve();
  }
};
exports.ipcMain = new EventEmitter();
exports.ipcRenderer = {
  postMessage: (channel, message, ports) =>
    exports.ipcMain.emit(channel, { ports: ports.map((port) => new MessagePortMain(port)) }, message),
};
exports.contextBridge = {
  exposeInMainWorld: (name, api) => {
    windows.at(-1)[name] = api;
  },
};

/** Runs a main file as Electron does, and the preload script of the window that it opens. Returns the window. */
exports.start = async (main) => {
  await main();
  becomeReady();
  await new Promise(setImmediate);
  const [window] = windows;
  require(window.preload);
  return window;
};
