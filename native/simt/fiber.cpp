#include "simt/fiber.h"

#include <cstdint>

#if defined(__x86_64__)

// What the System V ABI has a function preserve, but for the control words of floating point, which are the
// same everywhere here.
__asm__(
    ".text\n"
    ".type wkv_simt_switch, @function\n"
    "wkv_simt_switch:\n"
    "  pushq %rbp\n"
    "  pushq %rbx\n"
    "  pushq %r12\n"
    "  pushq %r13\n"
    "  pushq %r14\n"
    "  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  ret\n"
    ".size wkv_simt_switch, . - wkv_simt_switch\n");

extern "C" void wkv_simt_switch(void** from, void* to);

namespace wkv::cuda::simt {

void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
  // Six registers, where to return to, and where `entry` would return to: a function finds its stack pointer
  // eight bytes off a multiple of sixteen.
  auto* top = reinterpret_cast<std::uintptr_t*>(stack + bytes / 16 * 16);
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context.stack_pointer = top;
}

void switch_context(Context& from, Context& to) { wkv_simt_switch(&from.stack_pointer, to.stack_pointer); }

}  // namespace wkv::cuda::simt

#else

namespace wkv::cuda::simt {

void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&context.saved);
  context.saved.uc_stack.ss_sp = stack;
  context.saved.uc_stack.ss_size = bytes;
  context.saved.uc_link = nullptr;
  makecontext(&context.saved, entry, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(&from.saved, &to.saved); }

}  // namespace wkv::cuda::simt

#endif
