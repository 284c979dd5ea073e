import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder, type Ended } from '../support/model';
import { describeUnless, withoutDemoModel } from '../support/unless';
import { makeProject, runExample } from '../docs/examples';

const folder = temporaryFolder();
const example = join(__dirname, '../../examples/electron');

// No Electron can be had here. What the example says of its interfaces is checked against its types (npm run check,
// tsc); what it does is tried with a stand-in that has Node's message ports in their place.
describeUnless(withoutDemoModel)('examples/electron, with a stand-in for Electron', () => {
  beforeAll(() => {
    makeProject(folder);
    cpSync(example, folder, { recursive: true });
    mkdirSync(join(folder, 'node_modules/electron'));
    cpSync(join(__dirname, 'electron-stand-in.js'), join(folder, 'node_modules/electron/index.js'));
  });

  /** Runs code with the window's `chat`; what it returns, as JSON. */
  async function inWindow(code: string, environment = ''): Promise<unknown> {
    const ended: Ended = await runExample(
      folder,
      'run.mjs',
      `${environment}
      import { start } from 'electron';
      const { chat, file } = await start(() => import('./main.mjs'));
      const partsOf = async (text, onPart = () => undefined) => {
        const parts = [];
        await chat.send(text, (part) => onPart(parts.push(part)));
        return parts;
      };
      const result = await (async () => { ${code} })();
      process.stdout.write(JSON.stringify(result));
      process.exit();`,
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return JSON.parse(ended.stdout);
  }

  test('a window opens its page, whose conversation goes on', async () => {
    const [file, ...replies] = (await inWindow(
      `return [file, await partsOf('Tell me a story about a fox.'), await partsOf('What did they eat?')];`,
    )) as [string, string[], string[]];
    expect(existsSync(file)).toBe(true);
    for (const parts of replies) {
      expect(parts.length).toBeGreaterThan(5);
      expect(parts.join('')).toMatch(/\w{3}/);
    }
  });

  test('a reply can be stopped, and another one follows', async () => {
    const [stopped, next] = (await inWindow(
      `const stopped = await partsOf('Tell me a story about a fox.', (count) => count === 3 && chat.stop());
      return [stopped, await partsOf('What did they eat?')];`,
    )) as [string[], string[]];
    // Some were on their way.
    expect(stopped.length).toBeLessThan(100);
    expect(next.length).toBeGreaterThan(5);
  });

  test('what goes wrong reaches the page', async () => {
    const message = await inWindow(
      `return await partsOf('Hello!').catch((error) => error.message);`,
      `process.env['WKV_MODEL'] = 'missing.pth';`,
    );
    expect(message).toMatch(/missing\.pth/);
  });
});
