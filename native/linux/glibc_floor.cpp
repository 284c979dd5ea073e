// See glibc_floor.h.

#include <new>

#if defined(__GLIBC__)

extern "C" {
extern char wkv_single_threaded;
char wkv_single_threaded = 0;
}

#if defined(__GLIBCXX__)
namespace std {
// What the allocators of libstdc++ call; the library has it since version 11.
void __throw_bad_array_new_length() { throw bad_array_new_length{}; }
}  // namespace std
#endif

#endif
