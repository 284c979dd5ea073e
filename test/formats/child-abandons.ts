import { existsSync } from 'node:fs';
import { openTensorDirectory } from '../../lib/formats';

/** Opens a deflated .pth, says where its temporary file is, and exits without closing it. */
async function main(): Promise<void> {
  const { files } = await openTensorDirectory(process.argv[2] ?? '');
  const temporary = files[1]?.path ?? '';
  if (existsSync(temporary)) process.stdout.write(temporary);
  process.exit();
}

void main();
