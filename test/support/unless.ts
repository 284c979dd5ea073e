import { existsSync } from 'node:fs';
import { demoModel } from '../../lib/demo-model';

/** Says why a test cannot run here; jest counts it as skipped. */
export function unless(reason: string | false): typeof test {
  if (reason === false) return test;
  return ((name: string) => {
    test.skip(`${name} (skipped, because ${reason})`, () => undefined);
  }) as typeof test;
}

/** The same for a `describe`: one skipped test stands for its tests, and a line on standard error. */
export function describeUnless(reason: string | false): (name: string, body: () => void) => void {
  if (reason === false) return describe;
  return (name) => {
    const why = `skipped, because ${reason}`;
    process.stderr.write(`${name}: ${why}\n`);
    describe(name, () => {
      test.skip(why, () => undefined);
    });
  };
}

/** For {@link unless}: what needs the embedded model. */
export const withoutDemoModel: string | false = !existsSync(demoModel) && `${demoModel} is absent`;

/** For {@link unless}: what only Linux has. */
export const notOnLinux = (reason: string): string | false => process.platform !== 'linux' && reason;

/** For {@link unless}: what Windows does not have. */
export const onWindows = (reason: string): string | false => process.platform === 'win32' && reason;

/** For {@link unless}: what takes thirty times as long on an emulated processor, and promises milliseconds. */
export const underEmulator: string | false =
  process.env['WKV_EMULATED'] === '1' && 'an emulated processor is too slow for what it promises';

/** For {@link unless}: what runs a whole text through the reference, which is JavaScript wherever it runs. */
export const withoutOracle: string | false =
  underEmulator !== false && 'the reference takes hours on an emulated processor';

/** For {@link unless}: what measures memory. qemu says 0 of a process, and a sanitizer keeps what was freed. */
export const withoutMemory: string | false =
  (underEmulator !== false && 'an emulator does not say what memory a process has') ||
  (process.env['WKV_SANITIZED'] !== undefined && 'a sanitizer keeps what was freed');
