import { Option } from 'commander';
import type { StoredType } from '../formats';

export const storedTypes: readonly StoredType[] = ['f32', 'f16', 'bf16'];
export const weightTypes: readonly string[] = ['auto', ...storedTypes];

export function isWeights(text: string): text is StoredType {
  return storedTypes.some((type) => type === text);
}

export function modelOption(): Option {
  return new Option(
    '-m, --model <file>',
    'a .pth or .safetensors file, or a Hugging Face directory (default: the embedded demonstration model)',
  );
}

export function vocabularyOption(): Option {
  return new Option('--vocabulary <file>', 'a vocabulary in the format of rwkv_vocab_v20230424.txt');
}
