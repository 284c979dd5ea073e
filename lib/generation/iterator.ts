type Parts<Part> = AsyncGenerator<Part, void, undefined>;

/** Ends generations whose iterators nobody has any more. */
const abandoned = new FinalizationRegistry<Parts<unknown>>((parts) => {
  // Whoever could hear of an error has gone.
  parts.return(undefined).catch(() => undefined);
});

/**
 * The iterator of a generation that its caller gets. Where the caller drops it without ending it, the generation is
 * ended when the garbage collector finds out, and its session is free again.
 */
export function iterateGeneration<Part>(parts: Parts<Part>): Parts<Part> {
  const iterator: Parts<Part> = {
    next: () => parts.next(),
    return: () => parts.return(undefined),
    throw: (error: unknown) => parts.throw(error),
    [Symbol.asyncIterator]: () => iterator,
    [Symbol.asyncDispose]: async () => {
      await parts.return(undefined);
    },
  };
  abandoned.register(iterator, parts);
  return iterator;
}
