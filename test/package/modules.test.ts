import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, root, run } from './support';

const packageName = 'wkv';
const publicNames = ['Chat', 'State', 'Tokenizer', 'WkvError', 'demoModel', 'loadModel'];

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.mjs')))
    throw new Error('dist/ is not built: run npm run build first');
});

describe('import and require', () => {
  test('give the same names, the documented ones among them', () => {
    const names = JSON.parse(
      evaluate(
        `import * as imported from '${packageName}';
         import { createRequire } from 'node:module';
         import { join } from 'node:path';
         const required = createRequire(join(process.cwd(), 'x.js'))('${packageName}');
         console.log(JSON.stringify({ imported: Object.keys(imported), required: Object.keys(required) }));`,
        { esm: true },
      ),
    ) as { imported: string[]; required: string[] };
    expect(names.imported.sort()).toEqual(names.required.sort());
    expect(names.imported).toEqual(expect.arrayContaining(publicNames));
  });

  test('give the very same classes and functions', () => {
    const different = evaluate(
      `import * as imported from '${packageName}';
       import { createRequire } from 'node:module';
       import { join } from 'node:path';
       const required = createRequire(join(process.cwd(), 'x.js'))('${packageName}');
       console.log(JSON.stringify(Object.keys(imported).filter((name) => imported[name] !== required[name])));`,
      { esm: true },
    );
    expect(JSON.parse(different)).toEqual([]);
  });

  test('reach nothing but the public entry and package.json', () => {
    const { status, output } = run(process.execPath, ['-e', `require('${packageName}/dist/errors.js')`]);
    expect(status).not.toBe(0);
    expect(output).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
    expect(evaluate(`console.log(require('${packageName}/package.json').name)`).trim()).toBe(packageName);
  });
});
