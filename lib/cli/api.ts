// What the commands need of the package. Imported through library.ts alone, which loads it at first use.
export { addonPath } from '../addon';
export { convertModel } from '../convert';
export { demoModel } from '../demo-model';
export { WkvError } from '../errors';
export { bytesOfNumbers, isBlockType, openTensorDirectory, storedTypeBytes } from '../formats';
export { loadModel } from '../load-model';
export { usableMemory } from '../memory';
export { kernels } from '../kernels';
export { fromNative, native } from '../native';
export { randomSeed } from '../random';
export { usableThreads } from '../threads';
export { Tokenizer, WORLD_VOCABULARY_PATH } from '../tokenizer';
export { findTokenizer } from '../tokenizer-search';
