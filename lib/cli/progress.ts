import { basename } from 'node:path';
import { SingleBar } from 'cli-progress';
import { formatBytes, printable } from './terminal';
import type { LoadProgress } from '../load-model';

/** Loading that takes less shows no bar. */
const patienceMilliseconds = 300;
const longestName = 28;

/** A bar on standard error while a model is loaded, if that is a terminal and the loading takes a while. */
export class LoadingBar {
  readonly #began = performance.now();
  readonly #name: string;
  #bar: SingleBar | undefined;

  constructor(path: string) {
    const name = printable(basename(path));
    this.#name = name.length > longestName ? `${name.slice(0, longestName - 3)}...` : name;
  }

  readonly update = ({ completed, total }: LoadProgress): void => {
    if (!process.stderr.isTTY || performance.now() - this.#began < patienceMilliseconds) return;
    const all = formatBytes(total);
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        format: `${this.#name} [{bar}] {percentage} % of {all}, {eta_formatted} left`,
        barsize: 20,
        barCompleteChar: '=',
        barIncompleteChar: ' ',
        clearOnComplete: true,
        hideCursor: true,
        // The signals are interruption.ts's alone.
        gracefulExit: false,
      });
      this.#bar.start(total, completed, { all });
    }
    this.#bar.update(completed, { all });
  };

  /** Takes the bar away. */
  stop(): void {
    this.#bar?.stop();
  }
}
