import { demoModel } from '../../lib/index';
import { plainInt4, plainInt4Bits } from '../reference/int4';
import { describeWithFixtures, fixturePath } from '../support/fixtures';
import { referenceTensors } from '../support/random-model';
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
const { abs, exp } = Math;

function describeQuality(path: string, readTexts: () => Uint8Array[]): void {
  let texts: Uint8Array[];
  let exact: Distributions;
  let found: Distributions;
  beforeAll(async () => {
    texts = readTexts();
    exact = await withModel(path, { weights: 'f32' }, (model) => distributions(model, texts));
    found = await withModel(path, { weights: 'int4' }, (model) => distributions(model, texts));
  });

  unless(withoutOracle)(
    'int4 is nearer to f32 than 0.6 of plain rounding, at no more bits a weight',
    async () => {
      const tensors = await tensorsOf(path);
      const plain = meanDivergence(exact, withProduct(referenceTensors(tensors), plainInt4(), texts));
      expect(plain).toBeGreaterThan(1e-4); // something to compare with
      expect(meanDivergence(exact, found)).toBeLessThanOrEqual(0.6 * plain);

      // What is no matrix product is kept as in the file, the embedding, or in 32 bits.
      const inMatrices = ({ name, shape }: { name: string; shape: number[] }): boolean =>
        shape.length === 2 && name !== 'emb.weight' && !name.includes('.att.time_');
      const numbersOf = ({ data }: { data: Float32Array }): number => data.length;
      const sum = (all: number[]): number => all.reduce((a, b) => a + b, 0);
      const numbers = sum(tensors.filter(inMatrices).map(numbersOf));
      const others = sum(
        tensors
          .filter((tensor) => !inMatrices(tensor))
          .map(
            (tensor) => numbersOf(tensor) * (tensor.name === 'emb.weight' && tensor.type !== 'f32' ? 2 : 4),
          ),
      );
      const { weightBytes } = await withModel(path, { weights: 'int4' }, ({ info }) => info);
      expect(((weightBytes - others) * 8) / numbers).toBeLessThanOrEqual(plainInt4Bits);
    },
    240_000,
  );

  test('the perplexity of held-out text is within 3 %', () => {
    const change = exp(lossOf(found, texts) - lossOf(exact, texts)) - 1;
    expect(abs(change)).toBeLessThanOrEqual(0.03);
  });

  test('outliers make it at most twice as bad', async () => {
    const twin = await writeTensors(folder, 'twin', 'pth', outlierTwin(await tensorsOf(path)));
    const ofTwin = await withModel(twin, { weights: 'int4' }, (model) => distributions(model, texts));
    expect(meanDivergence(exact, ofTwin)).toBeLessThanOrEqual(2 * meanDivergence(exact, found));
  });
}

describe('The embedded model in int4', () => {
  describeQuality(demoModel, heldOutTexts);
});

describeWithFixtures('A trained model in int4', () => {
  describeQuality(fixturePath('v5.2', 'tiny.bf16.pth'), fixtureTexts);
});
