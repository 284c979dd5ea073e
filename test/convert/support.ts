import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder, writeRandomModel } from '../support/model';

export const int8 = { weights: 'int8' } as const;

/** A small model to be converted, for the tests of a file, and places for what comes of it. */
export function useConversions(): {
  folder: string;
  source: string;
  output: () => { place: string; path: string };
} {
  const folder = temporaryFolder();
  beforeAll(() => writeRandomModel(folder, 'source'));
  let outputs = 0;
  return {
    folder,
    source: join(folder, 'source.pth'),
    /** A folder of its own, so that whatever is left can be seen, and a file to be there. */
    output: () => {
      const place = join(folder, `output-${outputs++}`);
      mkdirSync(place);
      return { place, path: join(place, 'converted.safetensors') };
    },
  };
}
