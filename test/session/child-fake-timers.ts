// child-fake-timers.ts FILE: calls a model while timers are fake, and after that.
import { mock } from 'node:test';
import { Tokenizer, loadModel } from '../../lib/index';

async function main(path = ''): Promise<void> {
  const model = await loadModel(path, { tokenizer: Tokenizer.bytes() });
  mock.timers.enable();
  const during = await model.createSession().evaluate([1]);
  mock.timers.reset();
  const after = await model.createSession().evaluate([1]);
  process.stdout.write(String(Buffer.compare(Buffer.from(during.buffer), Buffer.from(after.buffer))));
}

void main(...process.argv.slice(2));
