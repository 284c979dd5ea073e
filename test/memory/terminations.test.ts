import { smallShape, temporaryFolder, writeRandomModel } from '../support/model';
import { expectCleanTerminations, terminationTimeout } from './terminate-workers';

const folder = temporaryFolder();

// Under a sanitizer more of them: the slow test with 200 is not run there.
const count = process.env['WKV_SANITIZED'] === undefined ? 60 : 100;

test(
  `${count} workers that are terminated at random moments of loading, prompts, generations and idling leave the process well`,
  async () => {
    await expectCleanTerminations(await writeRandomModel(folder, 'small', smallShape), count, 11);
  },
  terminationTimeout,
);
