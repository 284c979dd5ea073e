import { demoModel } from '../../lib/index';
import { plainInt8 } from '../reference/int8';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { referenceTensors, type RandomTensor } from '../support/random-model';
import { unless, withoutOracle } from '../support/unless';
import {
  distributions,
  fixtureTexts,
  heldOutTexts,
  lossOf,
  meanDivergence,
  outlierTwin,
  tensorsOf,
  withProduct,
  type Distributions,
} from './quality';
import { temporaryFolder, withModel, writeTensors } from '../support/model';

const folder = temporaryFolder();
const { exp } = Math;

/** What is measured on a model: texts of bytes, and how far the texts' perplexity may move. */
function describeQuality(path: string, readTexts: () => Uint8Array[]): void {
  let texts: Uint8Array[];
  let tensors: RandomTensor[];
  let exact: Distributions;
  let found: Distributions;
  beforeAll(async () => {
    texts = readTexts();
    tensors = await tensorsOf(path);
    exact = await withModel(path, { weights: 'f32' }, (model) => distributions(model, texts));
    found = await withModel(path, { weights: 'int8' }, (model) => distributions(model, texts));
  });

  unless(withoutOracle)(
    'int8 is nearer to f32 than half of plain W8A8, and never over 1e-3',
    () => {
      const plain = meanDivergence(exact, withProduct(referenceTensors(tensors), plainInt8(), texts));
      const ours = meanDivergence(exact, found);
      expect(plain).toBeGreaterThan(1e-6); // something to compare with
      expect(ours).toBeLessThanOrEqual(plain / 2);
      expect(ours).toBeLessThanOrEqual(1e-3);
    },
    240_000,
  );

  test('the perplexity of held-out text is within 0.3 %', () => {
    const change = exp(lossOf(found, texts) - lossOf(exact, texts)) - 1;
    expect(Math.abs(change)).toBeLessThanOrEqual(0.003);
  });

  test('outliers make it no worse: at most 2e-3', async () => {
    const twin = await writeTensors(folder, 'twin', 'pth', outlierTwin(tensors));
    const ofTwin = async (weights: 'f32' | 'int8'): Promise<Distributions> =>
      await withModel(twin, { weights }, (model) => distributions(model, texts));
    // The twin is the same function: in f32 it differs by roundings.
    const expected = await ofTwin('f32');
    expect(meanDivergence(exact, expected)).toBeLessThan(1e-8);
    expect(meanDivergence(expected, await ofTwin('int8'))).toBeLessThanOrEqual(2e-3);
  });
}

describe('The embedded model in int8', () => {
  describeQuality(demoModel, heldOutTexts);
});

describeWithFixtures('A trained model in int8', () => {
  describeQuality(fixturePath('v5.2', 'tiny.bf16.pth'), fixtureTexts);

  describe.each(['v4', 'v5.0'])('of %s', (version) => {
    describeQuality(fixturePath(version, 'tiny.bf16.pth'), () => fixtureTexts().slice(0, 6));
  });
});
