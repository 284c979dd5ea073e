import { basename } from 'node:path';
import { SingleBar } from 'cli-progress';
import { printable } from './terminal';
import { formatBytes } from '../format-bytes';

/** What takes less shows no bar. */
const patienceMilliseconds = 300;
const longestName = 28;

/** A bar that is taken away at the latest when the process ends: after a second Ctrl-C, that may be anywhere. */
function newBar(format: string): SingleBar {
  const bar = new SingleBar({
    format,
    barsize: 20,
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    clearOnComplete: true,
    hideCursor: true,
    // The signals are interruption.ts's alone.
    gracefulExit: false,
  });
  const stop = (): void => {
    bar.stop();
  };
  return bar.on('start', () => process.once('exit', stop)).on('stop', () => process.off('exit', stop));
}

/** A bar on standard error for work of so many rounds, if that is a terminal. */
export class RoundsBar {
  readonly #bar = process.stderr.isTTY ? newBar('round {value} of {total} [{bar}]') : undefined;

  constructor(rounds: number) {
    this.#bar?.start(rounds, 0);
  }

  readonly update = (done: number): void => {
    this.#bar?.update(done);
  };

  /** Takes the bar away. */
  stop(): void {
    this.#bar?.stop();
  }
}

/** A bar on standard error while a model is loaded or converted, if that is a terminal and it takes a while. */
export class LoadingBar {
  readonly #began = performance.now();
  readonly #name: string;
  #bar: SingleBar | undefined;

  constructor(path: string) {
    const name = printable(basename(path));
    this.#name = name.length > longestName ? `${name.slice(0, longestName - 3)}...` : name;
  }

  readonly update = ({ completed, total }: { completed: number; total: number }): void => {
    if (!process.stderr.isTTY || performance.now() - this.#began < patienceMilliseconds) return;
    const all = formatBytes(total);
    if (this.#bar === undefined) {
      this.#bar = newBar(`${this.#name} [{bar}] {percentage} % of {all}, {eta_formatted} left`);
      this.#bar.start(total, completed, { all });
    }
    this.#bar.update(completed, { all });
  };

  /** Takes the bar away. */
  stop(): void {
    this.#bar?.stop();
  }
}
