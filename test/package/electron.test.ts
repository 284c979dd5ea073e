import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { demoModel } from '../../lib/index';
import { fromNative } from '../../lib/native';
import { worldVocabularyPath } from '../../lib/tokenizer';
import { archiveHint, unpacked } from '../../lib/unpacked';
import { smallShape } from '../support/model';
import { randomModel } from '../support/random-model';
import { writeHuggingFaceDirectory } from '../support/safetensors-writer';
import { builtAddon, copyPart, layOut, run, temporaryFolder, unless } from './support';

const folder = temporaryFolder();

function write(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  return path;
}

describe('a path inside of an Electron archive', () => {
  test('becomes that of its unpacked twin, where there is one', () => {
    const archive = write(join(folder, 'one/app.asar'));
    const twin = write(join(folder, 'one/app.asar.unpacked/node_modules/wkv/a.node'));
    expect(unpacked(join(archive, 'node_modules/wkv/a.node'))).toBe(twin);
    expect(unpacked(join(archive, 'node_modules/wkv/b.node'))).toBe(join(archive, 'node_modules/wkv/b.node'));
  });

  test('is recognized whatever the archive is called, and wherever in the path it is', () => {
    const twin = write(join(folder, 'two.asar/core.asar.unpacked/a.node'));
    expect(unpacked(join(folder, 'two.asar/core.asar/a.node'))).toBe(twin);
  });

  test('is no other path: no file that is called so, no longer name, no unpacked file', () => {
    const names = ['three/app.asar', 'three/app.asarx/a.node', 'three/app.asar.unpacked/a.node'];
    for (const path of names.map((name) => write(join(folder, name)))) {
      expect(unpacked(path)).toBe(path);
      expect(archiveHint(path)).toBe('');
    }
  });

  test('is named where native code cannot open it', () => {
    const failure = { code: 'ERR_WKV_FORMAT', path: join(folder, 'four/app.asar/model.pth') };
    const error = fromNative(Object.assign(new Error('cannot be opened again'), failure));
    expect(error).toMatchObject({ message: expect.stringContaining('asarUnpack or asar.unpack') as string });
    const outside = Object.assign(new Error('cannot be opened again'), { ...failure, path: '/model.pth' });
    expect(fromNative(outside)).toMatchObject({ message: 'cannot be opened again' });
  });
});

const absent = [builtAddon, demoModel, worldVocabularyPath].filter((file) => !existsSync(file));

// No Electron can be had here. Its archive is stood in for by a directory that has the JavaScript alone: what Electron's
// own file functions would add to that, they add for JavaScript and not for native code.
describe('an application in an archive', () => {
  const application = join(folder, 'application');
  const archive = join(application, 'app.asar');
  const outside = join(application, 'app.asar.unpacked/node_modules/wkv');

  beforeAll(() => {
    layOut(archive);
    if (absent.length > 0) return;
    for (const part of ['models', 'vocabulary']) copyPart(part, outside);
    cpSync(builtAddon, join(outside, `prebuilds/${process.platform}-${process.arch}/wkv.node`));
  });

  const inArchive = (program: string): unknown => {
    writeFileSync(join(archive, 'main.js'), `const wkv = require('wkv');\n${program}`);
    const { status, output } = run(process.execPath, [join(archive, 'main.js')], {
      cwd: folder,
      env: { ...process.env, WKV_PREBUILD: undefined },
    });
    if (status !== 0) throw new Error(output);
    return JSON.parse(output) as unknown;
  };

  const there = unless(absent.length > 0 && `${absent.join(' and ')} is not there`);

  there('takes addon, model and vocabulary from what was unpacked', () => {
    const found = inArchive(`
      void (async () => {
        const model = await wkv.loadModel(wkv.demoModel);
        const { tokens } = await model.createSession().complete('User:', { maxTokens: 3, temperature: 0 });
        const addon = Object.keys(require.cache).filter((name) => name.endsWith('.node'));
        const world = wkv.Tokenizer.world().encode('Hello World!').length;
        console.log(JSON.stringify({ demoModel: wkv.demoModel, tokens: tokens.length, addon, world }));
      })();`);
    expect(found).toEqual({
      demoModel: join(outside, 'models/wkv-demo.pth'),
      tokens: 3,
      addon: [join(outside, `prebuilds/${process.platform}-${process.arch}/wkv.node`)],
      world: 3,
    });
  });

  there('loads a model of its own that was unpacked, by its path in the archive', () => {
    cpSync(demoModel, join(application, 'app.asar.unpacked/models/own.pth'));
    const program = `wkv.loadModel(require('node:path').join(__dirname, 'models/own.pth'))
      .then((model) => console.log(model.info.layers));`;
    expect(inArchive(program)).toBeGreaterThan(0);
  });

  there('loads a model in several files of which the large ones were unpacked', async () => {
    const inside = join(archive, 'models/sharded');
    await writeHuggingFaceDirectory(inside, randomModel(smallShape), {
      shards: 2,
      config: { model_type: 'rwkv5' },
    });
    const shards = readdirSync(inside).filter((name) => name.endsWith('.safetensors'));
    for (const name of shards) {
      cpSync(join(inside, name), join(application, 'app.asar.unpacked/models/sharded', name));
      rmSync(join(inside, name));
    }
    expect(shards).toHaveLength(2);
    const program = `wkv.loadModel(require('node:path').join(__dirname, 'models/sharded'))
      .then((model) => console.log(model.info.layers));`;
    expect(inArchive(program)).toBe(smallShape.layers);
  });

  there('is told to unpack a model that only JavaScript can see', () => {
    // As Electron does it: JavaScript finds the file under a path that is no file of the system.
    const program = `
      const files = require('node:fs/promises');
      for (const name of ['open', 'stat']) {
        const original = files[name];
        files[name] = (path, ...rest) =>
          original(path.endsWith('packed.pth') ? wkv.demoModel : path, ...rest);
      }
      wkv.loadModel(require('node:path').join(__dirname, 'packed.pth'))
        .catch(({ code, message }) => console.log(JSON.stringify({ code, message })));`;
    expect(inArchive(program)).toMatchObject({
      code: 'ERR_WKV_FORMAT',
      message: expect.stringMatching(/cannot be opened again.*asarUnpack/) as string,
    });
  });

  there('is told to unpack a model that is not found', () => {
    const program = `wkv.loadModel(require('node:path').join(__dirname, 'absent.pth'))
      .catch(({ message }) => console.log(JSON.stringify(message)));`;
    expect(inArchive(program)).toMatch(/no such file or directory; .*asarUnpack/);
  });

  there('is told to unpack the binary, where that was forgotten', () => {
    const away = join(application, 'away');
    renameSync(join(outside, 'prebuilds'), away);
    try {
      expect(() => inArchive('console.log(0)')).toThrow(/wkv has no binary for this system.*asarUnpack/);
    } finally {
      rmSync(join(outside, 'prebuilds'), { recursive: true, force: true });
      renameSync(away, join(outside, 'prebuilds'));
    }
  });
});
