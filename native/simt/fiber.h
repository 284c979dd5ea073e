#pragma once

// Stacks of our own, between which a thread goes back and forth.

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace wkv::cuda::simt {

struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t saved{};
#endif
};

// The context's first turn calls `entry`, which must not return.
void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)());

// Goes on with `to`; returns when somebody goes on with `from`.
void switch_context(Context& from, Context& to);

}  // namespace wkv::cuda::simt
