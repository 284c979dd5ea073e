import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { loadModel, type Model } from '../../lib/index';
import { temporaryFolder } from '../support/model';
import { onWindows, unless } from '../support/unless';
import { atTerminal, prompt, Terminal, testAtTerminal, wkvLine } from './at-terminal';
import {
  expectFailure,
  expectInterrupted,
  start,
  testWithDemoModel,
  wkv,
  writeEndlessModel,
} from './support';

const folder = temporaryFolder();
let path: string;
let model: Model;

beforeAll(async () => {
  path = await writeEndlessModel(folder);
  model = await loadModel(path);
});
afterAll(() => model.dispose());

const few = ['--temperature', '0', '--max-tokens', '20'];
const chat = (...parameters: string[]): string[] => ['chat', '-m', path, ...few, ...parameters];

/** What the model replies to these texts, one after the other, when it is asked without any chat. */
async function replies(
  ...prompts: string[]
): Promise<{ text: string; tokens: number[]; promptTokens: number }[]> {
  const session = model.createSession();
  const all = [];
  for (const prompt of prompts) {
    const { text, tokens } = await session.complete(prompt, { temperature: 0, maxTokens: 20, stop: '\n\n' });
    all.push({ text: text.trimStart(), tokens, promptTokens: Buffer.byteLength(prompt) });
  }
  return all;
}

const objects = (stdout: Buffer): Record<string, unknown>[] => {
  const lines = stdout.toString('utf8').split('\n');
  expect(lines.pop()).toBe('');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe('wkv chat without a terminal', () => {
  test('replies to each line of standard input that is not blank, and writes nothing else', async () => {
    const expected = await replies('User: hi\n\nAssistant:', '\n\nUser: /undo 狐狸\n\nAssistant:');
    const { code, stdout, stderr } = await wkv(chat(), { input: 'hi\r\n\n \n/undo 狐狸' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(String(stdout)).toBe(expected.map(({ text }) => text.replace(/\n?$/, '\n')).join(''));
  });

  test('refuses a line that is too long to be one, after what is before it', async () => {
    const [reply] = await replies('User: hi\n\nAssistant:');
    const input = Buffer.concat([Buffer.from('hi\n'), Buffer.alloc(2 ** 24 + 1, 'a')]);
    const outcome = await wkv(chat(), { input });
    expectFailure(outcome, /a line of standard input has more than 16777216 bytes/);
    expect(String(outcome.stdout)).toBe(reply!.text.replace(/\n?$/, '\n'));
  });

  test('prints one JSON object for each reply with --json', async () => {
    const expected = await replies(
      'System: Be brief.\n\nUser: hi\n\nAssistant:',
      '\n\nUser: bye\n\nAssistant:',
    );
    const { code, stdout } = await wkv(chat('--json', '--seed', '5', '--system', 'Be brief.'), {
      input: 'hi\nbye\n',
    });
    expect(code).toBe(0);
    const seconds = expect.any(Number) as number;
    expect(objects(stdout)).toEqual(
      expected.map(({ text, tokens, promptTokens }) => ({
        text,
        tokens,
        finishReason: 'length',
        seed: '5',
        usage: { promptTokens, completionTokens: 20 },
        timings: { promptSeconds: seconds, decodeSeconds: seconds, tokensPerSecond: seconds },
      })),
    );
  });

  test('writes conversations as the template says', async () => {
    const [expected] = await replies('Bob: hi\n\nAlice:');
    const { stdout } = await wkv(chat('--json', '--template', 'raven'), { input: 'hi' });
    expect(objects(stdout)).toMatchObject([{ tokens: expected!.tokens }]);
  });

  test('says the same with the same seed', async () => {
    const parameters = ['chat', '-m', path, '--max-tokens', '20', '--top-p', '1', '--json'];
    const said = async (seed: string) => {
      const { stdout } = await wkv([...parameters, '--seed', seed], { input: 'a\nb' });
      return objects(stdout).map(({ tokens }) => tokens);
    };
    const [one, two, three] = [await said('1'), await said('1'), await said('2')];
    expect(two).toEqual(one);
    expect(three).not.toEqual(one);
    expect(one[1]).not.toEqual(one[0]);
  });

  test('says with --json which seed would repeat what was said without one', async () => {
    const parameters = ['chat', '-m', path, '--max-tokens', '20', '--top-p', '1', '--json'];
    const said = async (...more: string[]) => {
      const { stdout } = await wkv([...parameters, ...more], { input: 'a\nb' });
      return objects(stdout).map(({ tokens, seed }) => ({ tokens, seed }));
    };
    const first = await said();
    expect(new Set(first.map(({ seed }) => seed)).size).toBe(1);
    expect(await said('--seed', String(first[0]!.seed))).toEqual(first);
  });

  test('goes on in a conversation that was saved', async () => {
    const saved = model.createChat();
    await saved.complete('hi', { temperature: 0, maxTokens: 20 });
    const file = join(folder, 'saved.chat');
    writeFileSync(file, saved.serialize());
    const [, expected] = await replies('User: hi\n\nAssistant:', '\n\nUser: bye\n\nAssistant:');
    const { stdout } = await wkv(chat('--json', '--load', file), { input: 'bye' });
    expect(objects(stdout)).toMatchObject([{ tokens: expected!.tokens }]);
  });

  test('refuses a file that is no saved conversation, or a damaged one', async () => {
    expectFailure(
      await wkv(chat('--load', join(folder, 'no.chat'))),
      /cannot read .*no\.chat: there is no such/,
    );
    expectFailure(await wkv(chat('--load', 'x'.repeat(300))), /cannot read x+: [^:/]+\n$/);
    expectFailure(await wkv(chat('--load', path)), /cannot read .*endless\.pth: it is no conversation/);
    expectFailure(await wkv(chat('--load', folder)), /cannot read .*: it is a directory, not a file/);
    const bytes = model.createChat().serialize();
    bytes[bytes.length - 50]! ^= 1;
    const damaged = join(folder, 'damaged.chat');
    writeFileSync(damaged, bytes);
    expectFailure(await wkv(chat('--load', damaged)), /damaged/);
  });

  unless(onWindows('Windows has no signals for children'))(
    'ends after what there is when it is interrupted',
    async () => {
      const { child, ended } = start([
        'chat',
        '-m',
        path,
        '--max-tokens',
        '1000000000',
        '--temperature',
        '0',
      ]);
      child.stdin?.write('hi\n');
      await new Promise((begun) => child.stdout?.once('data', begun));
      child.kill('SIGINT');
      const outcome = await ended;
      expectInterrupted(outcome);
      expect(outcome.stdout.length).toBeGreaterThan(1);
      expect(outcome.stdout.at(-1)).toBe('\n'.charCodeAt(0));
    },
  );

  unless(onWindows('Windows has no signals for children'))(
    'prints as JSON what there is of a reply that is interrupted, and what was evaluated before',
    async () => {
      const endless = ['--stop', 'never', '--ban', '0', '--max-tokens', '1000000000'];
      let reply: Record<string, unknown> = { tokens: [] };
      const tokens = (): number[] => reply['tokens'] as number[];
      // It may come before the reply has begun; then a longer wait is tried.
      for (let delay = 500; tokens().length === 0 && delay < 20_000; delay *= 2) {
        const { child, ended } = start(['chat', '-m', path, '--json', ...endless]);
        child.stdin?.write('hi\n');
        await wait(delay);
        child.kill('SIGINT');
        reply = objects((await ended).stdout)[0] ?? reply;
      }
      expect(reply['finishReason']).toBe('interrupted');
      const promptTokens = Buffer.byteLength('User: hi\n\nAssistant:');
      expect(reply['usage']).toEqual({ promptTokens, completionTokens: tokens().length });
    },
  );

  testWithDemoModel('tells a story by default', async () => {
    const { stdout } = await wkv(['chat', '--temperature', '0'], { input: 'Tell me a story about a fox.' });
    // Its training text has only such words, spaces, punctuation and a few emoji in English stories.
    expect(String(stdout)).toMatch(/^([A-Za-z',.!?]+[ \n]+){8}/);
  });
});

describe('wkv chat on a terminal', () => {
  testAtTerminal(
    'writes what the model says without commands to the terminal, where lines are piped too',
    async () => {
      const wild = ['--temperature', '100', '--top-p', '1', '--stop', 'never', '--ban', '0', '--seed', '1'];
      const command = wkvLine(['chat', '-m', path, ...wild, '--max-tokens', '500']);
      // How far loading is, which a slow machine shows, moves the cursor.
      const line = `echo hi | ${command} 2>/dev/null`;
      let output = '';
      for await (const text of atTerminal(line).stdout) output += String(text);
      expect(output).toMatch(/\\x[01][0-9a-f]/);
      // eslint-disable-next-line no-control-regex -- to find them is the purpose
      expect(output.replaceAll('\r\n', '\n')).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    },
  );

  testAtTerminal('replies and obeys commands; one that fails changes nothing', async () => {
    const [first] = await replies('User: hi\n\nAssistant:');
    // Wide enough for the paths below.
    const terminal = new Terminal(chat('--stop', 'never', '--ban', '0'), '', 400);
    expect(await terminal.until(prompt)).toMatch(/RWKV 5\.2.*\n\/help lists the commands/s);

    terminal.type('hi\r');
    await terminal.until(/--max-tokens\]\n/);
    await terminal.until(prompt);

    const file = join(folder, 'typed.chat');
    terminal.type(`/save ${file}\r`);
    await terminal.until(/saved as .*typed\.chat, [0-9.]+ KiB/);
    const saved = model.createChat({ saved: readFileSync(file) });
    expect(saved.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(saved.messages[1]!.content).toBe(first!.text);

    terminal.type('/fork\r');
    await terminal.until(/this is conversation 2/);
    terminal.type('/undo\r');
    await terminal.until(/took back: hi/);
    terminal.type('/branches\r');
    expect(await terminal.until(/\* 2 {2}nothing has been said/)).toMatch(
      / {2}1 {2}1 exchange, the last one: hi/,
    );
    terminal.type('/undo\r');
    await terminal.until(/error: nothing has been said/);
    terminal.type('/switch 1\r');
    await terminal.until(/conversation 1: 1 exchange/);
    terminal.type('/switch 3\r');
    await terminal.until(/error: there is no conversation 3/);
    terminal.type(`/load ${path}\r`);
    await terminal.until(/error: cannot read .*endless\.pth: it is no conversation/);
    terminal.type(`/save ${join(folder, 'missing/typed.chat')}\r`);
    await terminal.until(/error: cannot write .*missing\/typed\.chat: there is no such directory/);
    terminal.type(`/save ${path}\r`);
    await terminal.until(/error: cannot write .*endless\.pth: the file that is there is no conversation/);
    terminal.type(`/load ${file}\r`);
    await terminal.until(/loaded: 1 exchange, the last one: hi; \/switch 1 goes back to 1/);
    terminal.type('/branches\r');
    expect(await terminal.until(/\* 3 {2}1 exchange/)).toMatch(/ {2}1 {2}1 exchange.*\n {2}2 {2}nothing/);
    terminal.type('/regenerate\r');
    await terminal.until(/--max-tokens\]\n/);
    terminal.type('/stats\r');
    expect(await terminal.until(/tokens\/s/)).toMatch(/tokens seen +\d+\n.*state +[0-9.]+ KiB/s);
    terminal.type('/nothing\r');
    await terminal.until(/error: there is no \/nothing/);
    terminal.type('/exit\r');
    expect(await terminal.ended).toBe(0);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  testAtTerminal('stops a reply at Ctrl-C, keeps what there is of it, and goes on', async () => {
    const endless = ['--stop', 'never', '--ban', '0', '--max-tokens', '1000000000'];
    const terminal = new Terminal(['chat', '-m', path, '--temperature', '0', ...endless]);
    await terminal.until(prompt);
    terminal.type('hi\r');
    await terminal.until(/hi\n.*?\S.*?\S/s);
    terminal.type('typed meanwhile');
    terminal.type('\u0003');
    await terminal.until(/\[stopped\]\n/);
    await terminal.until(/> typed meanwhile$/);
    // It clears the line, then it warns, and only the next one would end.
    terminal.type('\u0003\u0003');
    await terminal.until(/\(Ctrl-C again or Ctrl-D ends\)\n/);
    await terminal.until(prompt);
    terminal.type('/branches\r');
    await terminal.until(/\* 1 {2}1 exchange, the last one: hi/);
    terminal.type('/stats\r');
    await terminal.until(/last reply +[\d,]+ tokens after 20,/);
    await terminal.until(prompt);
    terminal.type('\u0003');
    await terminal.until(/ends\)\n/);
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(0);
  });

  testAtTerminal('stops at Ctrl-C what /undo reads again, and takes nothing back', async () => {
    const long = model.createChat();
    for (const text of ['fox '.repeat(120_000), 'hi']) {
      await long.complete(text, { temperature: 0, maxTokens: 3 });
    }
    const file = join(folder, 'long.chat');
    writeFileSync(file, long.serialize());
    const terminal = new Terminal(chat('--load', file));
    await terminal.until(prompt);
    terminal.type('/undo\r');
    await terminal.until(/\/undo\n/);
    // To read it again takes about a second, and has begun.
    terminal.type('\u0003');
    await terminal.until(/\[stopped: nothing was taken back\]\n/);
    await terminal.until(prompt);
    terminal.type('/branches\r');
    await terminal.until(/\* 1 {2}2 exchanges, the last one: hi/);
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });

  testAtTerminal('says, where only its input is a terminal, that there are no commands', async () => {
    const child = atTerminal(`${wkvLine(chat())} > '${join(folder, 'replies')}'`);
    let shown = '';
    child.stdout.on('data', (text: string) => (shown += text));
    child.stdin.write('hi\n\u0004');
    await once(child, 'close');
    expect(shown).toContain('each line is a message, without commands');
    const [expected] = await replies('User: hi\n\nAssistant:');
    expect(readFileSync(join(folder, 'replies'), 'utf8')).toBe(expected!.text.replace(/\n?$/, '\n'));
  });

  testAtTerminal('keeps --seed for the first reply that begins', async () => {
    const options = { temperature: 1.5, topP: 1, maxTokens: 20, seed: 7 };
    const expected = model.createChat();
    await expected.complete('hi', options);
    // To read what was said before takes about a second, and is done with the first message.
    const messages = [
      { role: 'user', content: 'fox '.repeat(120_000) },
      { role: 'assistant', content: 'b' },
    ] as const;
    const [long, short] = [join(folder, 'begun.chat'), join(folder, 'seeded.chat')];
    writeFileSync(long, model.createChat({ messages }).serialize());
    const sampling = ['--temperature', '1.5', '--top-p', '1', '--max-tokens', '20', '--seed', '7'];
    const terminal = new Terminal(['chat', '-m', path, ...sampling, '--load', long]);
    await terminal.until(prompt);
    terminal.type('bye\r');
    await terminal.until(/bye\n/);
    terminal.type('\u0003');
    await terminal.until(/\[stopped before a reply\]\n/);
    await terminal.until(prompt);
    terminal.type('/undo\r');
    await terminal.until(/took back: fox/);
    await terminal.until(prompt);
    terminal.type('hi\r');
    await terminal.until(/hi\n/);
    await terminal.until(prompt);
    terminal.type(`/save ${short}\r`);
    await terminal.until(/saved as/);
    expect(model.createChat({ saved: readFileSync(short) }).messages).toEqual(expected.messages);
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });

  testAtTerminal('goes on after Ctrl-Z and fg', async () => {
    const terminal = new Terminal(chat(), 'echo in the shell; fg');
    await terminal.until(prompt);
    terminal.type('\u001a');
    await terminal.until(/in the shell\n/);
    await terminal.until(prompt);
    terminal.type('/branches\r');
    await terminal.until(/\* 1 {2}nothing has been said/);
    await terminal.until(prompt);
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });

  testAtTerminal('takes lines that are pasted together as one message, which may be edited', async () => {
    const terminal = new Terminal(chat('--stop', 'never', '--ban', '0'));
    await terminal.until(prompt);
    terminal.type('\u001b[200~thrown away\rthis too\u001b[201~');
    await terminal.until(/^thrown away\n\. this too$/);
    terminal.type('\u0003');
    await terminal.until(prompt);
    terminal.type('\u001b[200~and lines that end\r\u001b[201~');
    await terminal.until(/^and lines that end\n\. $/);
    terminal.type('\u0003');
    await terminal.until(prompt);
    terminal.type('\u001b[200~one\r\ttwo\rthree\u001b[201~');
    terminal.type('!\r');
    await terminal.until(/--max-tokens\]\n/);
    await terminal.until(prompt);
    const file = join(folder, 'pasted.chat');
    terminal.type(`/save ${file}\r`);
    await terminal.until(/saved as/);
    const { messages } = model.createChat({ saved: readFileSync(file) });
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(messages[0]!.content).toBe('one\n\ttwo\nthree!');
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });

  testAtTerminal('breaks the lines of what it says itself between words', async () => {
    const terminal = new Terminal(chat(), '', 40);
    await terminal.until(prompt);
    terminal.type('/help\r');
    const help = await terminal.until(prompt);
    terminal.type('/nonsense\r');
    const failure = await terminal.until(prompt);
    for (const line of `${help}${failure}`.split('\n')) expect(line.length).toBeLessThan(40);
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });

  for (const [when, delay] of [
    ['that says so', 0],
    ['that would say so later', 2000],
  ] as const)
    testAtTerminal(`ends with its terminal, by the signal ${when}`, async () => {
      const file = join(folder, `status-${delay}`);
      const leader = [process.execPath, join(__dirname, 'leads-session.js'), file, delay];
      const terminal = atTerminal(`exec ${leader.join(' ')} ${wkvLine(chat())}`);
      for await (const text of terminal.stdout) if (String(text).includes('> ')) break;
      // As whoever closes its window does.
      terminal.kill('SIGKILL');
      for (let waits = 0; waits < 1000 && !existsSync(file); waits++) await wait(20);
      expect(readFileSync(file, 'utf8')).toBe('SIGHUP');
    });

  testAtTerminal(
    'clears the line at Ctrl-C at a terminal that takes no commands, and gives it none',
    async () => {
      const terminal = new Terminal(chat(), '', 80, 'set -m; export TERM=dumb');
      // eslint-disable-next-line no-control-regex -- to find them is the purpose
      expect(await terminal.until(prompt, true)).not.toMatch(/\u001b/);
      terminal.type('thrown away');
      await terminal.until(/thrown away$/);
      terminal.type('\u0003');
      await terminal.until(prompt);
      terminal.type('/branches\r');
      await terminal.until(/\* 1 {2}nothing has been said/);
      terminal.type('\u0004');
      expect(await terminal.ended).toBe(0);
    },
  );

  testAtTerminal('says what the embedded model knows, and of no other model', async () => {
    const hint = /embedded model, which knows short stories/;
    const greetings = [['chat'], chat()].map(async (command) => {
      const terminal = new Terminal(command);
      const greeting = await terminal.until(/Ctrl-D ends/);
      terminal.type('\u0004');
      expect(await terminal.ended).toBe(0);
      return greeting.replaceAll(/\s+/g, ' ');
    });
    const [own = '', other = ''] = await Promise.all(greetings);
    expect(own).toMatch(hint);
    expect(other).not.toMatch(hint);
  });

  testAtTerminal(
    'says what a command lacks, or has too much; what is loaded takes the place of nothing',
    async () => {
      const file = join(folder, 'begun.chat');
      const begun = model.createChat();
      await begun.complete('hi', { maxTokens: 1 });
      writeFileSync(file, begun.serialize());
      const terminal = new Terminal(chat(), '', 400);
      await terminal.until(prompt);
      terminal.type('/undo 2\r');
      await terminal.until(/error: nothing comes after \/undo/);
      terminal.type('/switch\r');
      await terminal.until(/error: \/switch needs N: \/switch N/);
      terminal.type(`/load ${file}\r`);
      await terminal.until(/loaded: 1 exchange, the last one: hi\n/);
      terminal.type('/branches\r');
      await terminal.until(/\n\* 1 {2}1 exchange, the last one: hi\n/);
      terminal.type('\u0004');
      expect(await terminal.ended).toBe(0);
    },
  );

  testAtTerminal('ends at Ctrl-D', async () => {
    const terminal = new Terminal(chat());
    await terminal.until(prompt);
    terminal.type('\u0004');
    expect(await terminal.ended).toBe(0);
  });
});
