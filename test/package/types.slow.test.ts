import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projects } from './projects';
import { root, run } from './support';

// A program as a user would write it. Each @ts-expect-error fails the compilation when the line below it compiles:
// so types that are silently `any` are found too.
const program = `
import {
  Chat,
  Model,
  Sampler,
  Session,
  State,
  Tokenizer,
  WkvError,
  demoModel,
  kernels,
  loadModel,
  type ChatOptions,
  type Device,
  type GenerateOptions,
  type Int8Matrix,
  type Template,
  type TokenMaskFunction,
} from 'wkv';

export async function main(): Promise<void> {
  const model = await loadModel(demoModel, { device: 'cpu', weights: 'f32', threads: 2 });
  const layers: number = model.info.layers;
  // @ts-expect-error there is no such version
  console.log(model.info.version === '5', model.info.architecture === 'rwkv5');
  const session = model.createSession();
  const logits: Float32Array | undefined = await session.evaluate('Hello', { logits: 'last' });
  await session.evaluate(new Uint32Array([1, 2]), { logits: 'none' });
  await session.evaluate([1, 2], { signal: new AbortController().signal });
  const scores: Float32Array = await session.score([1, 2, 3]);
  for await (const part of session.generate('Hello', { maxTokens: 4, temperature: 0, seed: 1 })) {
    const text: string = part.text;
    console.log(text);
  }
  const tokenMask: TokenMaskFunction = (drawn) => (drawn === undefined ? undefined : new Uint32Array(8));
  const seed: bigint = session.seed;
  await session.complete('Hello', { seed, tokenMask });
  await session.complete('Hello', { tokenMask: async () => Promise.resolve(new Int32Array(8)) });
  // @ts-expect-error a mask has whole numbers of 32 bits
  await session.complete('Hello', { tokenMask: () => new Uint8Array(32) });
  const template: Template = {
    system: (text) => text,
    user: (text, { system }) => (system ? text : ''),
    label: 'Assistant:',
    separator: '\\n\\n',
    stop: [],
  };
  const chat: Chat = model.createChat({ template, messages: [{ role: 'user', content: 'Hello' }] });
  for await (const part of chat.send('Hello', { maxTokens: 4 })) {
    const thinking: string | undefined = part.thinking;
    console.log(part.text, thinking);
  }
  await chat.undo();
  const saved: Uint8Array = chat.serialize();
  model.createChat({ saved }).dispose();
  // @ts-expect-error there is no such role
  model.createChat({ messages: [{ role: 'bot', content: 'Hello' }] });
  const branch = session.fork();
  const bytes: Uint8Array = branch.state.serialize({ precision: 'f16' });
  const values: Float32Array = session.state.values();
  const again = model.createSession({ state: State.deserialize(bytes) });
  again.dispose();
  const exported: Float32Array = model.exportState(session.state, { layout: 'rwkv.cpp' });
  const imported: State = model.importState(exported, { layout: 'rwkv.cpp' });
  const shape: readonly number[] | undefined = model.exportState(imported, { layout: 'ChatRWKV' })[0]?.shape;
  const tuned: State = await model.loadTunedState('tuned.st', { layout: 'web-rwkv' });
  console.log(shape, tuned);
  // @ts-expect-error there is no such layout
  model.exportState(imported, { layout: 'rwkv' });
  const tokens: Uint32Array = Tokenizer.bytes().encode('text');
  console.log(layers, logits, scores, values, tokens);
  // @ts-expect-error models are loaded
  new Model();
  // @ts-expect-error sessions are made by models
  new Session();
  // @ts-expect-error states are made by sessions
  new State();
  // @ts-expect-error chats are made by models
  new Chat();
  // @ts-expect-error a path is text or a URL
  await loadModel(3);
  // @ts-expect-error there is no such option
  await loadModel('model.pth', { threadz: 2 });
  // @ts-expect-error information is read-only
  model.info.layers = 3;
  await model.dispose();
  const error: unknown = undefined;
  if (error instanceof WkvError) {
    const code: string = error.code;
    console.log(code);
  }
}

// What is optional may be given as undefined, too: then it is as if it were not given.
interface Given {
  signal: AbortSignal | undefined;
  seed: number | bigint | undefined;
  state: State | undefined;
  stop: GenerateOptions['stop'];
  template: ChatOptions['template'];
  clean: Template['clean'];
  device: Device | undefined;
  group: number | undefined;
  weights: Int8Matrix;
}

export async function mayBeGiven(given: Given): Promise<void> {
  const { signal, seed, state, stop, template, clean, device, group, weights } = given;
  const options: GenerateOptions = { signal, seed, stop, topK: undefined, logitBias: undefined };
  const model = await loadModel('model.pth', { signal, device, threads: undefined, onProgress: undefined });
  const session = model.createSession({ state });
  const logits: Float32Array = await session.evaluate('a', { signal, logits: undefined });
  await session.score('a', { signal });
  await session.complete('a', options);
  await model.loadTunedState('tuned.st', { layout: undefined, signal });
  session.state.serialize({ precision: undefined });
  const whole = { system: String, user: String, label: '', separator: '', stop: [] };
  const chat = session.model.createChat({ template, session: undefined, system: undefined, saved: undefined });
  model.createChat({ template: { ...whole, clean, thinking: undefined, opening: undefined } }).dispose();
  await chat.undo({ signal });
  new Sampler({ seed }).fork({ seed });
  session.fork({ seed });
  const activations = new Float32Array(1);
  kernels.gemmInt8({ activations, weights: { ...weights, group }, tokens: 1, rows: 1, columns: 1, device });
  kernels.quantizeInt8(logits, { rows: 1, columns: 1, group });
}
`;

const compilers = ['typescript-5.4', 'typescript', 'typescript-7'];
const modules = [
  { module: 'node16', moduleResolution: 'node16', files: ['program.mts', 'program.cts'] },
  { module: 'nodenext', moduleResolution: 'nodenext', files: ['program.mts', 'program.cts'] },
  { module: 'esnext', moduleResolution: 'bundler', files: ['program.ts'] },
];

const { install } = projects();
let project: string;

beforeAll(async () => {
  project = (await install('typed')).directory;
  mkdirSync(join(project, 'node_modules/@types'));
  symlinkSync(join(root, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'), 'junction');
  for (const name of ['program.mts', 'program.cts', 'program.ts'])
    writeFileSync(join(project, name), program);
}, 120_000);

describe.each(compilers)(
  'the types of the installed package, with %s and without skipLibCheck',
  (compiler) => {
    test.each(modules)(
      'compile in a project of module $module, resolution $moduleResolution',
      ({ files, ...modes }) => {
        const config = `tsconfig.${compiler}.${modes.module}.json`;
        const compilerOptions = {
          ...modes,
          target: 'es2022',
          lib: ['es2022'],
          types: ['node'],
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: false,
          noEmit: true,
        };
        writeFileSync(join(project, config), JSON.stringify({ compilerOptions, files }));
        const compile = join(root, 'node_modules', compiler, 'bin/tsc');
        expect(run(process.execPath, [compile, '-p', config], { cwd: project })).toEqual({
          status: 0,
          output: '',
        });
      },
    );
  },
);
