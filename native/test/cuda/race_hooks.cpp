// What code compiled with -fsanitize=thread calls, in place of the compiler's own library.

#include <cstddef>
#include <cstring>

#include "simt/races.h"

namespace races = wkv::cuda::simt::races;

// The compiler chose the names.
#define HOOKS(bytes)                                                                                    \
  void __tsan_read##bytes(void* place) { races::on_read(place, bytes, __builtin_return_address(0)); }   \
  void __tsan_write##bytes(void* place) { races::on_write(place, bytes, __builtin_return_address(0)); } \
  void __tsan_unaligned_read##bytes(void* place) {                                                      \
    races::on_read(place, bytes, __builtin_return_address(0));                                          \
  }                                                                                                     \
  void __tsan_unaligned_write##bytes(void* place) {                                                     \
    races::on_write(place, bytes, __builtin_return_address(0));                                         \
  }

extern "C" {
void __tsan_init();
void __tsan_func_entry(void*);
void __tsan_func_exit();
void __tsan_read_range(void* place, std::size_t bytes);
void __tsan_write_range(void* place, std::size_t bytes);
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes);
void* __tsan_memset(void* to, int byte, std::size_t bytes);
#define DECLARE(bytes)                      \
  void __tsan_read##bytes(void*);           \
  void __tsan_write##bytes(void*);          \
  void __tsan_unaligned_read##bytes(void*); \
  void __tsan_unaligned_write##bytes(void*);
DECLARE(1)
DECLARE(2)
DECLARE(4)
DECLARE(8)
DECLARE(16)

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* place, std::size_t bytes) {
  races::on_read(place, bytes, __builtin_return_address(0));
}
void __tsan_write_range(void* place, std::size_t bytes) {
  races::on_write(place, bytes, __builtin_return_address(0));
}
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  races::on_read(from, bytes, __builtin_return_address(0));
  races::on_write(to, bytes, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int byte, std::size_t bytes) {
  races::on_write(to, bytes, __builtin_return_address(0));
  return std::memset(to, byte, bytes);
}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
}
