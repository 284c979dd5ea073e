import { join } from 'node:path';
import { unpacked } from './unpacked';

/**
 * The path of the small model that the package carries: it tells short stories and answers questions about them
 * in nine languages. `loadModel(demoModel)` loads it like any other file.
 */
export const demoModel: string = unpacked(join(__dirname, '..', 'models', 'wkv-demo.pth'));
