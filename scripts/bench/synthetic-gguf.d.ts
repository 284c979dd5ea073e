/** Writes a GGUF of RWKV-6 with random weights in Q8_0. */
export function writeModel(shape: { layers: number; embedding: number }, path: string): void;
