/** The most bytes that a header (pickle, JSON, zip directory) may have: it is read into memory as a whole. */
export const maxHeaderBytes = 100_000_000;

/** The most tensors in one model; RWKV-5 7B has 710. */
export const maxTensors = 100_000;

/** The most dimensions of one tensor; RWKV files have 4 at most. */
export const maxDimensions = 8;
