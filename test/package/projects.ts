import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npmEnvironment, pack, Registry, succeeded } from './registry';
import { root, runAsync, temporaryFolder } from './support';

/** Projects of users, each in a folder and with a home of its own. */
interface Projects {
  /** Where projects are. */
  readonly folder: string;
  /** The paths that the registry was asked for so far. */
  readonly requests: readonly string[];
  /** Makes a project, and lets npm install the package in it. */
  readonly install: (name: string, manifest?: object, flags?: readonly string[]) => Promise<Project>;
}

export interface Project {
  readonly directory: string;
  /** What npm wrote when it installed the package. */
  readonly installed: string;
  /** Runs npm in the project and returns what it wrote; throws where it fails. */
  readonly npm: (args: readonly string[]) => Promise<string>;
  /** Writes a program into the project and runs it with Node. */
  readonly node: (name: string, source: string) => Promise<string>;
}

/**
 * What a user has of the package: the tarball, as `npm pack` makes it before the tests of this file, and a registry of
 * its dependencies in the place of the network.
 */
export function projects(): Projects {
  const folder = temporaryFolder();
  const requests: string[] = [];
  let tarball: string;
  let registry: Registry;

  beforeAll(async () => {
    tarball = join(folder, pack([root], folder)[0]!.filename);
    registry = await Registry.start(folder, requests);
  });
  afterAll(() => registry.close());

  const install: Projects['install'] = async (name, manifest = {}, flags = ['--ignore-scripts']) => {
    const directory = join(folder, name);
    mkdirSync(directory);
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ private: true, ...manifest }));
    const options = { cwd: directory, env: npmEnvironment(join(folder, `${name}-home`), registry.url) };
    const npm = async (args: readonly string[]) => succeeded(await runAsync('npm', args, options));
    const node = async (file: string, source: string): Promise<string> => {
      writeFileSync(join(directory, file), source);
      return succeeded(await runAsync(process.execPath, [file], options));
    };
    return { directory, installed: await npm(['install', ...flags, tarball]), npm, node };
  };
  return { folder, requests, install };
}

/** The story that the embedded model begins, and how the package's vocabulary encodes a text, as JSON. */
export interface Said {
  text: string;
  world: number[];
}

// Without an await at the top, which a bundle in CommonJS cannot have.
const say = `void (async () => {
  const model = await loadModel(demoModel);
  const session = model.createSession();
  const prompt = 'User: Tell me a story about a fox.\\n\\nAssistant:';
  const { text } = await session.complete(prompt, { maxTokens: 24, temperature: 0 });
  await model.dispose();
  console.log(JSON.stringify({ text, world: [...Tokenizer.world().encode('Hello World!')] }));
})();`;

/** Programs that print what {@link Said} describes. */
export const programs = {
  esm: `import { demoModel, loadModel, Tokenizer } from 'wkv';\n${say}`,
  commonjs: `const { demoModel, loadModel, Tokenizer } = require('wkv');\n${say}`,
};
