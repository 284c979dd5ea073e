/** Writes a GGUF of RWKV-6 with random weights in Q8_0. */
export function writeRwkv6(shape: { layers: number; embedding: number }, path: string): void;

/** Writes a GGUF of a Transformer as Llama has it, with heads of 64 and random weights in Q8_0. */
export function writeTransformer(
  shape: { layers: number; embedding: number; keyHeads: number; feedForward: number },
  path: string,
): void;
