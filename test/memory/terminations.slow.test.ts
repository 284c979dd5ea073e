import { smallShape, temporaryFolder, writeRandomModel } from '../support/model';
import { expectCleanTerminations, terminationTimeout } from './terminate-workers';

const folder = temporaryFolder();

test(
  '200 workers that are terminated at random moments leave the process well',
  async () => {
    await expectCleanTerminations(await writeRandomModel(folder, 'small', smallShape), 200, 12);
  },
  terminationTimeout,
);
