import { join } from 'node:path';
import { runChild, smallShape, temporaryFolder, writeRandomModel } from '../support/model';

const folder = temporaryFolder();

describe('Resident memory', () => {
  let path: string;
  beforeAll(async () => {
    path = await writeRandomModel(folder, 'small', { ...smallShape, layers: 1 });
  });

  test.each([
    ['1,000 models that are loaded, used and disposed', 'disposed models'],
    ['500 models that are loaded, used and dropped', 'dropped models'],
    ['4,000 sessions that are kept when their models are disposed', 'sessions of disposed models'],
    ['1,000 sessions and their forks that are made, used and disposed', 'disposed sessions'],
    ['1,000 sessions that are made, used, aborted, forked and dropped', 'sessions with seven calls'],
    [
      '3,000 generations that are left in the middle, of sessions that are dropped',
      'generations that are left',
    ],
    ['1,200 generations whose callbacks and stores hold them', 'generations that their own options reach'],
    [
      '3,000 sessions that are used and dropped where nobody asks for a collection',
      'dropped sessions, uncollected',
    ],
    ['5,000 states that are dropped where nobody asks for a collection', 'dropped states, uncollected'],
  ])(
    'is flat over %s',
    async (_what, mode) => {
      // States are freed to the system, not into holes of glibc's heap, which it keeps.
      const glibc = { MALLOC_MMAP_THRESHOLD_: '65536' };
      const environment = { ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8', ...glibc };
      const { code, stdout, stderr } = await runChild(join(__dirname, 'child-cycles.ts'), [mode, path], {
        environment,
        timeout: 120_000,
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const { grown, kept } = JSON.parse(stdout) as { grown: number; kept: number };
      // What the collector has not come to yet, and what allocators keep: far less than what was made.
      expect({ grown, kept, flat: grown < kept / 4 }).toEqual({ grown, kept, flat: true });
    },
    180_000,
  );
});
