// What the commands need of the package. Imported through library.ts alone, which loads it at first use.
export { addonPath } from '../addon';
export { chatMagic } from '../chat/file';
export { convertModel } from '../convert';
export { demoModel } from '../demo-model';
export { WkvError } from '../errors';
export { isBlockType, openTensorDirectory, storedTypeBytes } from '../formats';
export { elementsOf } from '../formats/views';
export { loadModel } from '../load-model';
export { usableMemory } from '../memory';
export { kernels } from '../kernels';
export { fromNative, native } from '../native';
export { randomSeed } from '../random';
export { storedBytesOf } from '../stored-bytes';
export { usableThreads } from '../threads';
export { Tokenizer, worldVocabularyPath } from '../tokenizer';
export { findTokenizer } from '../tokenizer-search';
