// child-progress.ts BAR: ends the process while a bar is shown, as a second Ctrl-C does; of `brief`, before one is.
import { LoadingBar, RoundsBar } from '../../lib/cli/progress';

if (process.argv[2] === 'rounds') {
  new RoundsBar(3).update(1);
} else if (process.argv[2] === 'brief') {
  new LoadingBar('a model').update({ completed: 1, total: 3 });
} else {
  const began = performance.now();
  const bar = new LoadingBar('a model');
  // What takes less than that shows none.
  while (performance.now() - began < 500);
  bar.update({ completed: 1, total: 3 });
}
process.exit(130);
