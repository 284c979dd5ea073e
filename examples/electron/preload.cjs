// What the page may do: say something, and stop the reply. It gets no port itself, and nothing of Electron or Node.

const { contextBridge, ipcRenderer } = require('electron');

const { port1: port, port2 } = new MessageChannel();
ipcRenderer.postMessage('converse', undefined, [port2]);

contextBridge.exposeInMainWorld('chat', {
  /**
   * Says something; `onText` gets the reply in parts.
   *
   * @param {string} text
   * @param {(text: string) => void} onText
   * @returns {Promise<void>} when the reply has ended; rejects where it failed
   */
  send: (text, onText) =>
    new Promise((resolve, reject) => {
      port.onmessage = ({ data }) => {
        if (!data.end) onText(data.text);
        else if (data.error === undefined) resolve();
        else reject(new Error(data.error));
      };
      port.postMessage({ say: text });
    }),
  stop: () => port.postMessage({ stop: true }),
});
