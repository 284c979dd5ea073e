// child-digest.ts FILE WEIGHTS COUNT: prints which instructions compute, and a digest of all logits and of the state.
import { createHash } from 'node:crypto';
import { loadModel, type LoadOptions } from '../../lib/index';
import { bytesOf } from '../support/compare';
import { randomTokens } from '../support/random-model';

async function main(path = '', weights = '', count = ''): Promise<void> {
  const model = await loadModel(path, { weights: weights as NonNullable<LoadOptions['weights']> });
  const session = model.createSession();
  const logits = await session.evaluate(randomTokens(Number(count), model.info.vocabulary, 1), {
    logits: 'all',
  });
  const state = session.state.values();
  const digest = createHash('sha256').update(bytesOf(logits)).update(bytesOf(state)).digest('hex');
  process.stdout.write(JSON.stringify({ isa: model.info.isa, digest }));
  await model.dispose();
}

void main(...process.argv.slice(2));
