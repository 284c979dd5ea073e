import { openTensorDirectory } from '../../lib/formats';
import { describeWithFixtures, fixturePath, readSafetensors } from '../support/fixtures';
import { type ReadTensor, readTensors } from '../support/read-tensors';

function byName(tensors: Map<string, ReadTensor>): unknown[] {
  return [...tensors.values()]
    .map(({ name, type, shape, bytes }) => ({ name, type, shape, bytes: bytes.toString('base64') }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

describeWithFixtures('files of trained models', () => {
  test.each([
    ['v4/tiny.bf16.pth', 78, 'bf16'],
    ['v4/tiny.fp16.pth', 78, 'f16'],
    ['v4/tiny.bf16.safetensors', 78, 'bf16'],
    ['v4/hf-fp16', 78, 'f16'],
    ['v5.0/tiny.bf16.pth', 246, 'bf16'],
    ['v5.0/tiny.fp16.safetensors', 246, 'f16'],
    ['v5.2/tiny.fp32.pth', 270, 'f32'],
    ['v5.2/tiny.bf16.pth', 270, 'bf16'],
    ['v5.2/tiny.bf16.legacy.pth', 270, 'bf16'],
    ['v5.2/tiny.bf16.safetensors', 270, 'bf16'],
    ['v5.2/tiny.fp16.safetensors', 270, 'f16'],
    ['v5.2/hf-bf16', 270, 'bf16'],
  ])('%s has its %d tensors of type %s', async (name, count, type) => {
    const { tensors } = await openTensorDirectory(fixturePath(...name.split('/')));
    expect(tensors).toHaveLength(count);
    expect(new Set(tensors.map((tensor) => tensor.type))).toEqual(new Set([type]));
  });

  test.each([
    ['v4', 'tiny.bf16.pth', 'tiny.bf16.safetensors'],
    ['v4', 'tiny.fp16.pth', 'hf-fp16'],
    ['v5.2', 'tiny.bf16.pth', 'tiny.bf16.safetensors'],
    ['v5.2', 'tiny.bf16.legacy.pth', 'tiny.bf16.safetensors'],
    ['v5.2', 'hf-bf16', 'tiny.bf16.safetensors'],
  ])('of %s, %s and %s hold the same bytes under the same names', async (version, one, other) => {
    const left = byName(await readTensors(fixturePath(version, one)));
    const right = byName(await readTensors(fixturePath(version, other)));
    expect(left).toEqual(right);
  });

  test('read like by another reader of safetensors', async () => {
    const path = fixturePath('v5.2', 'tiny.bf16.safetensors');
    const ours = [...(await readTensors(path)).values()].map(({ name, values }) => [name, [...values]]);
    const theirs = [...readSafetensors(path)].map(([name, { data }]) => [name, [...data]]);
    expect(ours).toEqual(theirs);
  });
});
