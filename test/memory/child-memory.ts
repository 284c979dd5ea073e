// child-memory.ts FILE session: prints the resident memory in bytes after 10^4, 10^5 and 10^6 tokens of a session.
// child-memory.ts FILE calls: the same after 10,000 and 60,000 calls with one token.
// child-memory.ts FILE prompt: prints by how much a single call with 10^6 tokens raised the most that the process
// ever had resident.
import { loadModel, type Session } from '../../lib/index';
import { randomTokens } from '../support/random-model';
import { resident } from '../support/resident';

async function afterTokens(session: Session, vocabulary: number): Promise<Record<string, number>> {
  const tokens = randomTokens(1_000_000, vocabulary, 1);
  const after: Record<string, number> = {};
  let count = 0;
  for (const total of [10_000, 100_000, 1_000_000]) {
    await session.evaluate(tokens.subarray(count, total), { logits: 'last' });
    count = total;
    after[total] = await resident();
  }
  return after;
}

async function atOnce(session: Session, vocabulary: number): Promise<Record<string, number>> {
  const tokens = randomTokens(1_000_000, vocabulary, 1);
  await session.evaluate(tokens.subarray(0, 10_000));
  // maxRSS is in KiB.
  const before = process.resourceUsage().maxRSS * 1024;
  await session.evaluate(tokens);
  return { grown: process.resourceUsage().maxRSS * 1024 - before, tokenBytes: tokens.byteLength };
}

async function afterCalls(session: Session): Promise<Record<string, number>> {
  const after: Record<string, number> = {};
  let count = 0;
  for (const total of [10_000, 60_000]) {
    for (; count < total; count++) {
      await session.evaluate([65], { logits: 'last' });
    }
    after[total] = await resident();
  }
  return after;
}

async function main(path = '', mode = ''): Promise<void> {
  const model = await loadModel(path);
  const measure = mode === 'prompt' ? atOnce : mode === 'calls' ? afterCalls : afterTokens;
  const measured = await measure(model.createSession(), model.info.vocabulary);
  process.stdout.write(JSON.stringify(measured));
  await model.dispose();
}

void main(...process.argv.slice(2));
